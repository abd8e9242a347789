package v1alpha1

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/pki"
)

// clusterRootBundle is the ConfigMap that Kubernetes itself keeps in every
// namespace.
const clusterRootBundle = "kube-root-ca.crt"

// maxPassword is the longest password of a keystore that trust-manager takes, in
// characters.
const maxPassword = 128

func (v *validator) bundle(document Document, bundle *TrustBundle) {
	v.bundleName(document, bundle)
	if len(bundle.Spec.Authorities)+len(bundle.Spec.Certificates) == 0 && !bundle.Spec.UseDefaultCAs {
		v.refuse(document, "spec.authorities", "is missing: a bundle needs an authority, a certificate or useDefaultCAs")
	}
	v.bundleAuthorities(document, bundle.Spec.Authorities)
	v.bundleCertificates(document, bundle.Spec.Certificates)
	v.via(document, bundle)
	v.target(document, bundle.Spec.Target)
	v.probes(document, bundle.Spec.Probes)
}

// bundleName takes what is written under the bundle's name, in every namespace that its
// selector picks.
func (v *validator) bundleName(document Document, bundle *TrustBundle) {
	name := bundle.Metadata.Name
	if name == clusterRootBundle {
		v.refuse(document, "metadata.name", "%s is Kubernetes' own ConfigMap in every namespace: choose another name", name)
	}
	role := "the bundle of TrustBundle " + name
	if bundle.Spec.Via == ViaBundle && !v.claim(document, "metadata.name", "Bundle "+name, role) {
		return
	}
	v.claim(document, "metadata.name", "ConfigMap "+name, role)
	if earlier, taken := v.secrets[name]; taken && bundle.Spec.Target.Secret.Key != "" {
		v.refuse(document, "metadata.name", "the copies of this bundle would be Secrets of the name of %s (%s:%d), and might overwrite it: rename one of them",
			earlier.role, earlier.document.File, max(earlier.document.Line, 1))
	}
}

func (v *validator) bundleAuthorities(document Document, authorities []string) {
	seen := map[string]bool{}
	for i, name := range authorities {
		field := fmt.Sprintf("spec.authorities[%d]", i)
		if seen[name] {
			v.refuse(document, field, "%s stands twice: take one out", quote(name))
			continue
		}
		seen[name] = true
		if authority, found := v.authorityOf(document, field, name); found && authority.Spec.IssuedBy != nil {
			v.refuse(document, field, "%s is an intermediate, and intermediates never enter a bundle: name its root%s", name, v.rootOf(name))
		}
	}
}

// bundleCertificates checks the further anchors. Whether they are valid now is not asked:
// no clock is read.
func (v *validator) bundleCertificates(document Document, texts []string) {
	listed := map[pki.Fingerprint]string{}
	for i, text := range texts {
		field := fmt.Sprintf("spec.certificates[%d]", i)
		certificates, err := pki.ParsePEM([]byte(text))
		if err != nil {
			v.refuse(document, field, "%s", pemProblem(text, err))
			continue
		}
		for n, certificate := range certificates {
			v.anchor(document, field, certificate, ordinal(n, len(certificates)), listed)
		}
	}
}

// ordinal names one of several certificates of a PEM; a single one needs no name.
func ordinal(n, of int) string {
	if of == 1 {
		return ""
	}
	return fmt.Sprintf("certificate %d ", n+1)
}

// anchor checks one of the further anchors against those before it.
func (v *validator) anchor(document Document, field string, certificate pki.Certificate, which string, listed map[pki.Fingerprint]string) {
	fingerprint := certificate.Fingerprint()
	earlier, twice := listed[fingerprint]
	owner, owned := v.fingerprints[fingerprint]
	listed[fingerprint] = field
	switch name := quote(certificate.Subject()); {
	case !certificate.IsCA():
		v.refuse(document, field, "%s%s is not the certificate of a CA (its basic constraints do not say CA:TRUE): give its root", which, name)
	case twice:
		v.warn(document, field, "%s%s stands in %s already: take one of them out", which, name, earlier)
	case owned:
		v.warn(document, field, "%s%s is the certificate of %s: name the authority in spec.authorities, so that the bundle follows its rollovers", which, name, owner.role)
	case !certificate.SelfSigned():
		v.warn(document, field, "%s%s is an intermediate: who trusts it goes on when its root is gone, so give the root", which, name)
	}
}

// via checks that whoever writes the copies can do what is asked.
func (v *validator) via(document Document, bundle *TrustBundle) {
	spec := bundle.Spec
	if spec.Via == ViaBundle {
		return
	}
	const mend = "write via: Bundle, or take it out"
	if spec.UseDefaultCAs {
		v.refuse(document, "spec.useDefaultCAs", "is trust-manager's to give, and not for via: %s: %s", spec.Via, mend)
	}
	if spec.Target.Secret != (SecretTarget{}) {
		v.refuse(document, "spec.target.secret", "copies in Secrets are trust-manager's to write, and not for via: %s: %s", spec.Via, mend)
	}
	if spec.Target.AdditionalFormats != (AdditionalFormats{}) {
		v.refuse(document, "spec.target.additionalFormats", "keystores are trust-manager's to write, and not for via: %s: %s", spec.Via, mend)
	}
	if spec.Target.ConfigMap == (ConfigMapTarget{}) {
		v.refuse(document, "spec.target.configMap", "is missing: with via: %s each copy is a ConfigMap, so say which key holds the PEM", spec.Via)
	}
}

// target checks what each copy holds: every output under a key of its own, as
// trust-manager wants it.
func (v *validator) target(document Document, target BundleTarget) {
	const field = "spec.target"
	pem := map[string]string{}
	if target.ConfigMap != (ConfigMapTarget{}) {
		v.output(document, field+".configMap.key", target.ConfigMap.Key)
		pem[target.ConfigMap.Key] = "the PEM"
	}
	if target.Secret != (SecretTarget{}) {
		v.output(document, field+".secret.key", target.Secret.Key)
		pem[target.Secret.Key] = "the PEM"
	}
	if len(pem) == 0 {
		v.refuse(document, field, "is empty: say in configMap, in secret or in both which key of a copy holds the PEM")
	}
	v.keystores(document, field+".additionalFormats", target.AdditionalFormats, pem)
	if _, err := metav1.LabelSelectorAsSelector(&target.NamespaceSelector); err != nil {
		v.refuse(document, field+".namespaceSelector", "is not a label selector: %s", err)
	}
}

// output checks the key of a copy's data that holds something.
func (v *validator) output(document Document, field, key string) {
	if len(validation.IsConfigMapKey(key)) > 0 {
		v.refuse(document, field, "%s is not a ConfigMap's key: use at most 253 letters, digits, '-', '_' and '.'", quote(key))
	}
}

// keystores checks the further outputs of a copy; the keys that others have are taken.
func (v *validator) keystores(document Document, field string, formats AdditionalFormats, taken map[string]string) {
	if jks := formats.JKS; jks != nil {
		v.keystore(document, field+".jks", jks.Key, jks.Password, taken)
		taken[jks.Key] = "the Java keystore"
		if jks.Password != nil && *jks.Password == "" {
			v.refuse(document, field+".jks.password", "is empty, and a Java keystore needs one: take it out for %s", DefaultJKSPassword)
		}
	}
	if pkcs12 := formats.PKCS12; pkcs12 != nil {
		v.keystore(document, field+".pkcs12", pkcs12.Key, pkcs12.Password, taken)
	}
}

// keystore checks a further output. Its password is never repeated.
func (v *validator) keystore(document Document, field, key string, password *string, taken map[string]string) {
	v.output(document, field+".key", key)
	if other, is := taken[key]; is {
		v.refuse(document, field+".key", "%s holds %s already: give each output a key of its own", quote(key), other)
	}
	switch {
	case password == nil:
	case strings.ContainsFunc(*password, unicode.IsControl):
		v.refuse(document, field+".password", "has a control character in it: take one that a person can type")
	case utf8.RuneCountInString(*password) > maxPassword:
		v.refuse(document, field+".password", "has more than the %d characters that trust-manager takes: shorten it", maxPassword)
	}
}
