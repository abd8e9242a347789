package importer

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// An authority is a CA that may be described: by the Secret that issuers sign with, by the
// spec of an external issuer, or by its certificate alone.
type authority struct {
	namespace string
	// secret that holds the key, and spec of the external issuer that it stays behind, as
	// JSON; both empty where the certificate is all that there is.
	secret, spec string
	// certificate; zero while it is not known.
	certificate pki.Certificate
	// makers are the Certificates that make the Secret.
	makers []*certmanagerv1.Certificate
	// issuers that sign with the key, those that are left included.
	issuers []issuer
	// kept are those of the issuers that are taken over.
	kept []issuer
	// parent signed the certificate; nil for a root.
	parent *authority
	// left says why the authority is not described; nil if it is.
	left *Left
	// name of the document and of its one key.
	name, key string
}

// subject names what stands for the authority in the cluster.
func (a *authority) subject() string {
	switch {
	case len(a.makers) > 0:
		return "Certificate " + a.namespace + "/" + a.makers[0].Name
	case a.secret != "":
		return "Secret " + a.namespace + "/" + a.secret
	case a.spec != "":
		return a.issuers[0].String()
	}
	return "CA " + strconv.Quote(a.certificate.Subject())
}

// leave says why the authority is not described.
func (a *authority) leave(do, why string, args ...any) {
	if a.left == nil {
		a.left = &Left{Object: a.subject(), Why: fmt.Sprintf(why, args...), Do: do}
	}
}

// gatherAuthorities finds the keys that issuers sign with, one for each Secret and each
// external spec, sorted by where they are.
func (d *description) gatherAuthorities() {
	type place struct{ namespace, secret, spec string }
	found := map[place]*authority{}
	for _, by := range issuersOf(d.seen) {
		at := place{by.home(d.seen.ClusterResourceNamespace), by.secret(d.seen.ClusterResourceNamespace).Name, by.external()}
		if at.secret == "" && at.spec == "" {
			continue // a self-signed issuer, which has no key
		}
		if found[at] == nil {
			found[at] = &authority{namespace: at.namespace, secret: at.secret, spec: at.spec}
			d.authorities = append(d.authorities, found[at])
		}
		found[at].issuers = append(found[at].issuers, by)
	}
	for i := range d.seen.Certificates {
		certificate := &d.seen.Certificates[i]
		if a := found[place{certificate.Namespace, certificate.Spec.SecretName, ""}]; a != nil {
			a.makers = append(a.makers, certificate)
		}
	}
	slices.SortStableFunc(d.authorities, func(a, b *authority) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.secret, b.secret), cmp.Compare(a.spec, b.spec))
	})
	for _, a := range d.authorities {
		d.identify(a)
	}
}

// identify finds the certificate of a key: in its Secret, if that was read; in what the
// Certificate that makes the Secret was issued; or as the CA of what it signed last.
func (d *description) identify(a *authority) {
	a.certificate = first(read(d.seen.Secrets[planner.Ref{Namespace: a.namespace, Name: a.secret}]))
	if len(a.makers) == 1 && a.certificate.IsZero() {
		chain, _ := d.issued.Chain(a.makers[0])
		a.certificate = first(chain)
	}
	if !a.certificate.IsZero() {
		return
	}
	var newest leaf
	for _, by := range a.issuers {
		if leaves := d.leaves[by.Ref]; len(leaves) > 0 && (newest.chain == nil || leaves[0].chain[0].NotBefore().After(newest.chain[0].NotBefore())) {
			newest = leaves[0]
		}
	}
	if newest.chain != nil {
		a.certificate = d.signerOf(newest)
	}
}

// closing is how long before its end a CA is not taken over any more.
const closing = time.Hour

// judge leaves out the authorities that would not stay as they are, or that cannot be told.
func (d *description) judge() {
	for _, a := range d.authorities {
		d.judgeMakers(a)
		d.judgeCertificate(a)
		d.judgeLeaves(a)
		d.judgeIssuers(a)
	}
	for _, a := range d.authorities {
		d.judgeNeighbours(a)
	}
}

// judgeMakers leaves out a key that changes by itself.
func (d *description) judgeMakers(a *authority) {
	if len(a.makers) > 1 {
		a.leave("delete all but one of them, and import again", "%d Certificates write the Secret %s/%s, each over the other", len(a.makers), a.namespace, a.secret)
		return
	}
	if len(a.makers) == 1 && rotates(a.makers[0]) {
		due := ""
		if at := a.makers[0].Status.RenewalTime; at != nil {
			due = ", next at " + instant(at.Time)
		}
		a.leave("set privateKey.rotationPolicy: Never and renewal.policy: Disabled in its spec and import again, or leave it and declare an Authority of your own beside it",
			"it gets a new key at each renewal%s (privateKey.rotationPolicy is Always, as it is where none is given), and nobody would trust that yet", due)
	}
}

// rotates reports whether a Certificate comes to another key by itself.
func rotates(certificate *certmanagerv1.Certificate) bool {
	key, renewal := certificate.Spec.PrivateKey, certificate.Spec.Renewal
	if renewal != nil && renewal.Policy == certmanagerv1.CertificateRenewalPolicyDisabled {
		return false
	}
	return key == nil || key.RotationPolicy != certmanagerv1.RotationPolicyNever
}

// judgeCertificate leaves out what is no CA that reanchor can describe, or none any more.
func (d *description) judgeCertificate(a *authority) {
	c := a.certificate
	switch {
	case c.IsZero() && a.secret != "":
		a.leave("run again with --read-secrets, or have it sign a Certificate first", "nothing but the Secret %s/%s tells its certificate: nothing that it signed is there", a.namespace, a.secret)
	case c.IsZero():
		a.leave("have it issue a Certificate, and import again", "its key is not here, and nothing that it signed is there to tell its certificate")
	case !c.IsCA():
		a.leave("give the issuer a CA's Secret", "its certificate %s is not a CA's", c)
	case len(c.SubjectKeyID()) == 0:
		a.leave("roll it over by hand, to a CA that has one", "its certificate %s has no subject key identifier, by which verifiers tell keys apart", c)
	case c.X509().KeyUsage != 0 && c.X509().KeyUsage&x509.KeyUsageCertSign == 0:
		a.leave("roll it over by hand, to a CA that may", "its certificate %s may not sign certificates (its key usage lacks keyCertSign)", c)
	case d.seen.Now.Add(closing).After(c.NotAfter()):
		a.leave("replace the CA by hand, and import again", "its certificate %s ends, or has ended, at %s", c, instant(c.NotAfter()))
	case d.seen.Now.Before(c.NotBefore()):
		a.leave("import again then", "its certificate %s is not valid before %s", c, instant(c.NotBefore()))
	}
}

// named is how many leaves are named of those that are many.
const named = 3

// judgeLeaves leaves out a key of whose issuers' leaves another signed some: they would be
// issued anew at the first turn.
func (d *description) judgeLeaves(a *authority) {
	if a.certificate.IsZero() {
		return
	}
	if strays, all := d.strays(a.issuers, a.certificate); len(strays) > 0 {
		more := ""
		if len(strays) > named {
			more = fmt.Sprintf(" and %d more", len(strays)-named)
		}
		do := "have them issued anew (cmctl renew), and import again"
		if a.spec != "" {
			do = "leave it as it is, if such an issuer signs with whichever of its CAs it likes; else have them issued anew (cmctl renew), and import again"
		}
		a.leave(do,
			"%d of the %d leaves of its issuers chain to another key than %s: %s%s", len(strays), all, a.certificate, strings.Join(strays[:min(named, len(strays))], ", "), more)
	}
}

// judgeIssuers keeps the issuers that may be taken over. Without one, nothing of the key is
// reanchor's.
func (d *description) judgeIssuers(a *authority) {
	for _, by := range a.issuers {
		if left := leftToWriter(by.String(), by.object); left != nil {
			d.leave(*left)
			continue
		}
		a.kept = append(a.kept, by)
	}
	if len(a.kept) == 0 {
		a.leave("see the issuers", "none of its issuers can be taken over")
	}
}

// judgeNeighbours leaves out what is taken for another: the same key in two places, two CAs
// of one subject.
func (d *description) judgeNeighbours(a *authority) {
	for _, other := range d.authorities {
		switch {
		case other == a || other.certificate.IsZero() || a.certificate.IsZero():
		case other.certificate.Equal(a.certificate):
			if other.left == nil && d.isBefore(other, a) {
				a.leave("point its issuers at the other one, or delete them once nobody refers to them", "its certificate %s is also that of %s: a key is taken over once", a.certificate, other.subject())
			}
		case string(other.certificate.X509().RawSubject) == string(a.certificate.X509().RawSubject):
			a.leave("move the leaves of one of the two, delete its issuers, and import again", "its subject %q is also that of %s, and verifiers find a signer by its subject", a.certificate.Subject(), other.subject())
		}
	}
}

// isBefore reports whether the first of two places of one key is the better: where
// ClusterIssuers find it, or else the first by name.
func (d *description) isBefore(a, b *authority) bool {
	everywhere := d.seen.ClusterResourceNamespace
	if (a.namespace == everywhere) != (b.namespace == everywhere) {
		return a.namespace == everywhere
	}
	return slices.Index(d.authorities, a) < slices.Index(d.authorities, b)
}

// findParents puts intermediates under the CAs that signed them. One that is not among the
// keys is described by its certificate alone, if that is found.
func (d *description) findParents() {
	byCertificate := map[pki.Fingerprint]*authority{}
	for _, a := range d.authorities {
		if !a.certificate.IsZero() && (a.left == nil || byCertificate[a.certificate.Fingerprint()] == nil) {
			byCertificate[a.certificate.Fingerprint()] = a
		}
	}
	for n := 0; n < len(d.authorities); n++ { // parents are added at the end
		a := d.authorities[n]
		if a.left != nil || a.certificate.SelfSigned() {
			continue
		}
		signer := signerAmong(a.certificate, slices.Concat(d.certificatesOfKeys(), d.cas))
		if signer.IsZero() {
			a.leave("put its root into the bundle or the ConfigMap that its clients verify with and import again, or give the root in Git by hand: see docs/how-to/keep-the-root-offline.md",
				"it is an intermediate, signed by %q, whose certificate is nowhere in the cluster", a.certificate.X509().Issuer)
			continue
		}
		if byCertificate[signer.Fingerprint()] == nil {
			offline := &authority{namespace: a.namespace, certificate: signer}
			d.judgeCertificate(offline)
			byCertificate[signer.Fingerprint()] = offline
			d.authorities = append(d.authorities, offline)
		}
		a.parent = byCertificate[signer.Fingerprint()]
	}
	d.leaveOrphans()
}

// certificatesOfKeys are those of all keys that are known.
func (d *description) certificatesOfKeys() []pki.Certificate {
	var known []pki.Certificate
	for _, a := range d.authorities {
		if !a.certificate.IsZero() {
			known = append(known, a.certificate)
		}
	}
	return known
}

// leaveOrphans leaves out what hangs under an authority that is left.
func (d *description) leaveOrphans() {
	for range d.authorities { // once for each level that there can be
		for _, a := range d.authorities {
			if a.parent != nil && a.parent.left != nil {
				a.leave("see there", "it is signed by %s, which is not taken over", a.parent.subject())
			}
		}
	}
}

// taken are the authorities that are described, parents first, then by their names.
func (d *description) taken() []*authority {
	taken := slices.DeleteFunc(slices.Clone(d.authorities), func(a *authority) bool { return a.left != nil })
	slices.SortStableFunc(taken, func(a, b *authority) int {
		return cmp.Or(cmp.Compare(a.depth(), b.depth()), cmp.Compare(a.name, b.name))
	})
	return taken
}

// depth is how many authorities stand above.
func (a *authority) depth() int {
	if a.parent == nil {
		return 0
	}
	return a.parent.depth() + 1
}

// pair names the key pair.
func (a *authority) pair() string {
	if a.parent == nil {
		return a.key
	}
	return v1alpha1.KeyUnder(a.key, a.parent.pair())
}

// nameAll names the authorities and their keys: after the Certificate, the Secret or the
// issuer by which people know them, and after the year in which the key began.
func (d *description) nameAll() {
	used := map[string]bool{}
	for _, a := range d.taken() {
		base := slug(cmp.Or(a.makerName(), a.secret, a.issuerName(), a.certificate.CommonName(), "ca"))
		for _, key := range []string{strconv.Itoa(a.certificate.NotBefore().UTC().Year()), "adopted"} {
			for _, name := range []string{base, slug(base + "-" + a.namespace), slug(base + "-authority")} {
				if a.name == "" && !used[name] && d.isFree(a, name, key) {
					a.name, a.key = name, key
				}
			}
		}
		if a.name == "" {
			a.leave("rename what has those names, and import again", "every name that its Authority could have is in use")
		}
		used[a.name] = true
	}
	d.leaveOrphans()
}

func (a *authority) makerName() string {
	if len(a.makers) == 0 {
		return ""
	}
	return a.makers[0].Name
}

func (a *authority) issuerName() string {
	if len(a.issuers) == 0 {
		return ""
	}
	return a.issuers[0].Name
}

// isFree reports whether nothing stands in the cluster under the names of the objects that
// reanchor makes for the key, and by which it knows them.
func (d *description) isFree(a *authority, name, key string) bool {
	pair := key
	if a.parent != nil {
		pair = v1alpha1.KeyUnder(key, a.parent.pair())
	}
	object := planner.Ref{Namespace: a.namespace, Name: planner.KeyObjectName(name, pair)}
	names := []planner.Ref{object, {Name: object.Name}, {Namespace: a.namespace, Name: planner.SelfSignedName(name)}}
	taken := func(namespace, other string) bool {
		return slices.Contains(names, planner.Ref{Namespace: namespace, Name: other})
	}
	return a.secret != object.Name &&
		!slices.ContainsFunc(d.seen.Issuers, func(i certmanagerv1.Issuer) bool { return taken(i.Namespace, i.Name) }) &&
		!slices.ContainsFunc(d.seen.ClusterIssuers, func(i certmanagerv1.ClusterIssuer) bool { return taken("", i.Name) }) &&
		!slices.ContainsFunc(d.seen.Certificates, func(c certmanagerv1.Certificate) bool {
			return taken(c.Namespace, c.Name) || taken(c.Namespace, c.Spec.SecretName)
		})
}

// longestName leaves room for a key's name in those of its objects.
const longestName = 40

// slug makes a name of lower-case letters, digits and '-'.
func slug(text string) string {
	fields := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	name := strings.Join(fields, "-")
	return cmp.Or(strings.Trim(name[:min(len(name), longestName)], "-"), "ca")
}

// document is the Authority: a key that comes from elsewhere, and what keys that reanchor
// makes later are like.
func (a *authority) document() v1alpha1.Authority {
	document := v1alpha1.Authority{Metadata: v1alpha1.Metadata{Name: a.name, Namespace: a.namespace}}
	key := v1alpha1.AuthorityKey{Name: a.key, State: v1alpha1.KeySigning, Certificate: string(a.certificate.PEM())}
	switch {
	case a.secret != "":
		key.Secret = &v1alpha1.SecretReference{Name: a.secret}
		a.describeNextKeys(&document.Spec)
	case a.spec != "":
		key.Issuer = rawJSON(a.spec)
	}
	if a.parent != nil {
		document.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: a.parent.name}
	}
	document.Spec.Keys = []v1alpha1.AuthorityKey{key}
	return document
}

// The bounds of what a document may say of keys (RFC 5280, appendix A.1, and cert-manager's).
const (
	longestCommonName       = 50 // with a blank and a key's name, 64
	longestAttribute        = 64
	smallestRSA, largestRSA = 2048, 8192
)

// describeNextKeys takes subject, algorithm and lifetime from the certificate.
func (a *authority) describeNextKeys(spec *v1alpha1.AuthoritySpec) {
	certificate := a.certificate.X509()
	common := strings.TrimSuffix(certificate.Subject.CommonName, " "+a.key)
	if common == "" || len(common) > longestCommonName {
		common = a.name
	}
	spec.Subject = v1alpha1.Subject{
		CommonName:          common,
		Organizations:       fitting(certificate.Subject.Organization),
		OrganizationalUnits: fitting(certificate.Subject.OrganizationalUnit),
		Countries:           countries(certificate.Subject.Country),
	}
	switch key := certificate.PublicKey.(type) {
	case *ecdsa.PublicKey:
		spec.PrivateKey = v1alpha1.PrivateKey{Algorithm: v1alpha1.ECDSA, Size: key.Curve.Params().BitSize}
	case *rsa.PublicKey:
		spec.PrivateKey = v1alpha1.PrivateKey{Algorithm: v1alpha1.RSA, Size: min(max(key.N.BitLen(), smallestRSA), largestRSA)}
	case ed25519.PublicKey:
		spec.PrivateKey = v1alpha1.PrivateKey{Algorithm: v1alpha1.Ed25519}
	}
	if lifetime := certificate.NotAfter.Sub(certificate.NotBefore).Round(time.Hour); lifetime >= time.Hour {
		spec.Duration = duration(lifetime)
	}
}

func fitting(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(value string) bool { return value == "" || len(value) > longestAttribute })
}

func countries(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(value string) bool {
		return len(value) != 2 || strings.ToUpper(value) != value
	})
}
