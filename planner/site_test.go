package planner_test

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// noon is when every test begins; certificates were made an hour before.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// entity is a certificate and the key that it certifies.
type entity struct {
	pki.Certificate
	private ed25519.PrivateKey
}

// The keys of fleet-root, and a stranger of the same name as the second.
var (
	key2025  = newRoot("2025", "Fleet Root 2025")
	key2026  = newRoot("2026", "Fleet Root 2026")
	key2027  = newRoot("2027", "Fleet Root 2027")
	stranger = newRoot("stranger", "Fleet Root 2026")
)

// labels are what tests call certificates, by their fingerprints; tell writes
// "#2026" for the short fingerprint of 2026 and "##2026" for the whole.
var labels sync.Map

func label(certificate pki.Certificate, as string) {
	labels.Store(certificate.Fingerprint(), as)
}

// newRoot makes a self-signed CA. Its key follows from its label, so that its bytes
// are always the same.
func newRoot(as, name string, change ...func(*x509.Certificate)) entity {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(87600 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return sign(as, template, nil, change...)
}

// newLeaf makes an end-entity certificate that lives for ninety days.
func newLeaf(name string, by entity, change ...func(*x509.Certificate)) entity {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(2160*time.Hour - time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	return sign(name, template, &by, change...)
}

func sign(as string, template *x509.Certificate, by *entity, change ...func(*x509.Certificate)) entity {
	for _, edit := range change {
		edit(template)
	}
	seed := sha256.Sum256([]byte(as))
	made := entity{private: ed25519.NewKeyFromSeed(seed[:])}
	parent, signer := template, made.private
	if by != nil {
		parent, signer = by.X509(), by.private
	}
	der, err := x509.CreateCertificate(nil, template, parent, made.private.Public(), signer)
	if err == nil {
		made.Certificate, err = pki.Parse(der)
	}
	if err != nil {
		panic(fmt.Sprintf("sign %s: %v", as, err))
	}
	label(made.Certificate, as)
	return made
}

func lives(from, to time.Time) func(*x509.Certificate) {
	return func(template *x509.Certificate) { template.NotBefore, template.NotAfter = from, to }
}

// withoutSKI leaves the subject key identifier out: the extension that says CA is
// written by hand, so that crypto/x509 adds none.
func withoutSKI(template *x509.Certificate) {
	template.IsCA, template.BasicConstraintsValid = false, false
	value, err := asn1.Marshal(struct{ IsCA bool }{true})
	if err != nil {
		panic(err)
	}
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: value}}
}

// site is a small plant: the root fleet-root with the ClusterIssuer fleet, the
// bundle fleet-trust in the namespaces lab and plant, the broker of plant, which
// presents a leaf and verifies, and the client of lab, which verifies.
type site struct {
	desired  planner.Desired
	observed planner.Observed
	now      time.Time
}

var (
	fleetRoot = planner.Ref{Namespace: "cert-manager", Name: "fleet-root"}
	caSpec    = planner.CASpec{CommonName: "Fleet Root 2025", Algorithm: v1alpha1.Ed25519, Duration: 87600 * time.Hour}
	target    = v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}}
)

func authority(name, commonName string) v1alpha1.Authority {
	return v1alpha1.Authority{
		Metadata: v1alpha1.Metadata{Name: name, Namespace: "cert-manager"},
		Spec: v1alpha1.AuthoritySpec{
			Subject:    v1alpha1.Subject{CommonName: commonName},
			PrivateKey: v1alpha1.PrivateKey{Algorithm: v1alpha1.Ed25519},
			Duration:   &metav1.Duration{Duration: 87600 * time.Hour},
			Rollover: v1alpha1.Rollover{
				Soak: &metav1.Duration{Duration: 10 * time.Minute}, Skew: &metav1.Duration{Duration: 5 * time.Minute},
				Confirm: v1alpha1.ConfirmWorkloads,
			},
		},
	}
}

func binding(name, authority string) v1alpha1.IssuerBinding {
	return v1alpha1.IssuerBinding{Metadata: v1alpha1.Metadata{Name: name}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: authority}}
}

func bundle(name string, authorities ...string) v1alpha1.TrustBundle {
	return v1alpha1.TrustBundle{Metadata: v1alpha1.Metadata{Name: name}, Spec: v1alpha1.TrustBundleSpec{Authorities: authorities, Via: v1alpha1.ViaBundle, Target: target}}
}

func volume(name string) []planner.Mount {
	return []planner.Mount{{Name: name, Kind: planner.MountVolume}}
}

// empty is the plant on its first day: Git says that 2025 signs, and nothing is there.
func empty() *site {
	s := &site{now: noon, desired: planner.Desired{
		Authorities: []v1alpha1.Authority{authority("fleet-root", "Fleet Root")},
		Bindings:    []v1alpha1.IssuerBinding{binding("fleet", "fleet-root")},
		Bundles:     []v1alpha1.TrustBundle{bundle("fleet-trust", "fleet-root")},
	}}
	for _, namespace := range []string{"lab", "plant"} {
		s.observed.Copies = append(s.observed.Copies, planner.Copy{Bundle: "fleet-trust", Namespace: namespace, Missing: true, Problem: "there is no such ConfigMap yet"})
	}
	s.commit("2025 Signing")
	return s
}

// settled is the plant at rest: 2025 signs, everyone has loaded everything.
func settled() *site {
	s := empty()
	s.has("2025", key2025)
	s.pointTo("2025", key2025)
	s.distribute(key2025)
	s.observed.Leaves = []planner.Leaf{{
		Ref: planner.Ref{Namespace: "plant", Name: "broker"}, Issuer: planner.Ref{Name: "fleet"}, SecretName: "broker-tls",
		Chain: []pki.Certificate{newLeaf("broker", key2025).Certificate},
	}}
	s.observed.Workloads = []planner.Workload{
		{Kind: "Deployment", Ref: planner.Ref{Namespace: "lab", Name: "client"}, Bundles: volume("fleet-trust"), Pods: 2},
		{Kind: "Deployment", Ref: planner.Ref{Namespace: "plant", Name: "broker"}, Bundles: volume("fleet-trust"), Secrets: volume("broker-tls"), Pods: 2},
	}
	s.reload()
	return s
}

// introduced is the plant after 2026 was committed and issued.
func introduced() *site {
	s := settled()
	s.commit("2025 Retired", "2026 Signing")
	s.has("2026", key2026)
	return s
}

// distributed is the plant in which everyone has loaded both anchors just now.
func distributed() *site {
	s := introduced()
	s.distribute(key2025, key2026)
	s.reload()
	return s
}

// soaked is distributed, ten minutes later.
func soaked() *site {
	s := distributed()
	s.rest(10 * time.Minute)
	return s
}

// switched is the plant whose issuer signs with 2026, as a canary has shown.
func switched() *site {
	s := soaked()
	s.pointTo("2026", key2026)
	return s
}

// reissued is the plant whose leaf chains to 2026, and nobody has loaded it yet.
func reissued() *site {
	s := switched()
	s.leaf().Chain = []pki.Certificate{newLeaf("broker anew", key2026).Certificate}
	return s
}

// drained is the plant in which nobody needs 2025 any more.
func drained() *site {
	s := reissued()
	s.reload()
	return s
}

// released is drained, and 2025 is in no bundle any more.
func released() *site {
	s := drained()
	s.distribute(key2026)
	s.reload()
	return s
}

// commit says what Git lists: "2025 Retired", "2026 Signing".
func (s *site) commit(keys ...string) { s.commitTo(0, keys...) }

func (s *site) commitTo(authority int, keys ...string) {
	spec := &s.desired.Authorities[authority].Spec
	spec.Keys = nil
	for _, key := range keys {
		name, state, _ := strings.Cut(key, " ")
		spec.Keys = append(spec.Keys, v1alpha1.AuthorityKey{Name: name, State: v1alpha1.KeyState(state)})
	}
}

// has gives fleet-root a key that was issued a certificate, or another one.
func (s *site) has(name string, certificate entity) *planner.Key {
	spec := caSpec
	spec.CommonName = "Fleet Root " + name
	key := planner.Key{
		Authority: fleetRoot, Name: name, HasCertificate: true, HasIssuer: true, Issued: true, Spec: spec,
		Certificate: certificate.Certificate,
	}
	s.observed.Keys = slices.DeleteFunc(s.observed.Keys, func(k planner.Key) bool { return k.Name == name && k.Authority == fleetRoot })
	s.observed.Keys = append(s.observed.Keys, key)
	return s.key(name)
}

func (s *site) key(name string) *planner.Key {
	return &s.observed.Keys[slices.IndexFunc(s.observed.Keys, func(k planner.Key) bool { return k.Name == name })]
}

// pointTo lets the issuer sign with a key, and a canary come back that shows it.
func (s *site) pointTo(name string, key entity) {
	generation := int64(1)
	if len(s.observed.Issuers) > 0 {
		generation = s.issuer().Generation + 1
	}
	s.observed.Issuers = []planner.Issuer{{
		Ref: planner.Ref{Name: "fleet"}, Exists: true, SecretName: "fleet-root-" + name, Generation: generation,
		Canary: planner.Canary{
			Name: "fleet-1", At: s.now, Generation: generation, State: planner.CanarySigned,
			Certificate: newLeaf("canary of "+name, key).Certificate, CA: key.Certificate,
		},
	}}
}

func (s *site) issuer() *planner.Issuer { return &s.observed.Issuers[0] }

func (s *site) leaf() *planner.Leaf { return &s.observed.Leaves[0] }

// client and broker are the two workloads.
func (s *site) client() *planner.Workload { return &s.observed.Workloads[0] }

func (s *site) broker() *planner.Workload { return &s.observed.Workloads[1] }

// distribute lets the bundle and all its copies hold these anchors.
func (s *site) distribute(keys ...entity) {
	anchors := anchorsOf(keys...)
	s.observed.Bundles = []planner.Bundle{{Name: "fleet-trust", Seen: true, Anchors: anchors, Target: target}}
	for i := range s.observed.Copies {
		s.observed.Copies[i].Missing = false
		s.observed.Copies[i].Problem, s.observed.Copies[i].Anchors, s.observed.Copies[i].Digest = "", anchors, anchors.SHA256()
	}
}

func anchorsOf(keys ...entity) pki.Anchors {
	var certificates []pki.Certificate
	for _, key := range keys {
		certificates = append(certificates, key.Certificate)
	}
	return pki.NewAnchors(certificates...)
}

// reload lets every pod of every workload have loaded what is there now.
func (s *site) reload() {
	for i := range s.observed.Workloads {
		w := &s.observed.Workloads[i]
		w.BundleDigest, w.LeavesDigest = s.copiesDigest(*w), s.leavesDigest(*w)
		w.Bearing, w.Started, w.Rolling = w.Pods, w.Pods, false
	}
}

func (s *site) copiesDigest(w planner.Workload) string {
	return planner.CopiesDigest(slices.DeleteFunc(slices.Clone(s.observed.Copies), func(c planner.Copy) bool {
		return c.Namespace != w.Ref.Namespace || !slices.ContainsFunc(w.Bundles, func(m planner.Mount) bool { return m.Name == c.Bundle })
	}), s.observed.Bundles)
}

func (s *site) leavesDigest(w planner.Workload) string {
	signers := map[string]pki.Fingerprint{}
	for _, leaf := range s.observed.Leaves {
		for _, key := range s.observed.Keys {
			mounts := slices.ContainsFunc(w.Secrets, func(m planner.Mount) bool { return m.Name == leaf.SecretName })
			if mounts && !key.Certificate.IsZero() && leaf.Chain[0].SignedBy(key.Certificate) {
				signers[leaf.SecretName] = leaf.Chain[0].Fingerprint()
			}
		}
	}
	return planner.LeavesDigest(signers)
}

// next is the plan for the site as it is.
func (s *site) next() planner.Plan { return planner.Next(s.desired, s.observed, s.now) }

// rest takes a turn that changes nothing, and lets time pass.
func (s *site) rest(d time.Duration) {
	s.observed.Since = s.next().Gates
	s.now = s.now.Add(d)
}

// aYear is beyond what most scenes look ahead: a root's own end is TestLifetimes'.
const aYear = 8760 * time.Hour

// tell writes a plan as a person reads it: where each authority stands, what holds
// it, what is done now, and when time alone may change that.
func tell(plan planner.Plan, now time.Time) []string {
	var lines []string
	for _, rollover := range plan.Rollovers {
		lines = append(lines, strings.TrimPrefix(rollover.String(), "cert-manager/"))
		for _, hold := range rollover.Holds {
			lines = append(lines, "- "+hold.String())
		}
	}
	for _, hold := range plan.Holds {
		lines = append(lines, "hold "+hold.String())
	}
	for _, action := range plan.Actions {
		lines = append(lines, "do "+action.String())
	}
	for _, p := range plan.Probes {
		lines = append(lines, fmt.Sprintf("probe %s of %s at %s as %s with %s", p.Name, p.Bundle, p.Address, p.ServerName, strings.Join(namesOf(p.Anchors), " ")))
	}
	for _, drop := range plan.Drops {
		lines = append(lines, fmt.Sprintf("drop %s of %s: %s", drop.Key, drop.Who, drop.Why))
	}
	if plan.Blind {
		lines = append(lines, "blind: nothing is written")
	}
	if !plan.LookAgain.IsZero() && plan.LookAgain.Sub(now) < aYear {
		lines = append(lines, "look again after "+plan.LookAgain.Sub(now).String())
	}
	return named(lines)
}

// targets writes what a plan wants the cluster to hold.
func targets(plan planner.Plan) []string {
	var lines []string
	for _, key := range plan.Target.Keys {
		objects := []string{key.Authority.Name, key.Name}
		if key.Certificate {
			objects = append(objects, "Certificate")
		}
		if key.Issuer {
			objects = append(objects, "Issuer")
		}
		lines = append(lines, "key "+strings.Join(objects, " "))
	}
	for _, issuer := range plan.Target.Issuers {
		lines = append(lines, fmt.Sprintf("issuer %s signs with %s of %s", issuer.Ref, issuer.Key, issuer.Authority.Name))
	}
	for _, bundle := range plan.Target.Bundles {
		lines = append(lines, strings.TrimSpace("bundle "+bundle.Name+" "+strings.Join(namesOf(bundle.Anchors), " ")))
	}
	if plan.Decisive {
		lines = append(lines, "decisive")
	}
	return lines
}

func namesOf(anchors pki.Anchors) []string {
	var all []string
	for _, anchor := range anchors {
		as, _ := labels.Load(anchor.Fingerprint())
		all = append(all, as.(string))
	}
	slices.Sort(all)
	return all
}

// named writes labels for fingerprints.
func named(lines []string) []string {
	var pairs []string
	labels.Range(func(fingerprint, as any) bool {
		f := fingerprint.(pki.Fingerprint)
		pairs = append(pairs, f.String(), "##"+as.(string), f.Short(), "#"+as.(string))
		return true
	})
	replacer := strings.NewReplacer(pairs...)
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		out = append(out, replacer.Replace(line))
	}
	return out
}

// scene is a site, and what the planner has to say to it.
type scene struct {
	site   *site
	change func(*site)
	// want is what tell writes, and targets what the cluster shall hold; nil: not
	// what this scene is about.
	want, targets []string
}

// play runs scenes, each by its name.
func play(t *testing.T, scenes map[string]scene) {
	for name, scene := range scenes {
		t.Run(name, func(t *testing.T) {
			if scene.change != nil {
				scene.change(scene.site)
			}
			plan := scene.site.next()
			same(t, "the plan says", tell(plan, scene.site.now), scene.want)
			if scene.targets != nil {
				same(t, "the cluster shall hold", targets(plan), scene.targets)
			}
		})
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), cmp.Or(strings.Join(want, "\n\t"), "nothing"))
	}
}
