package policies

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// today is when the turns of these tests are taken.
var today = time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)

// made is a certificate of a key, signed by another or by itself.
type made struct {
	pki.Certificate
	key crypto.Signer
}

// issue signs a CA's certificate by signer, or by itself, after change.
func issue(name string, signer *made, key crypto.Signer, change func(*x509.Certificate)) *made {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: today.AddDate(-1, 0, 0), NotAfter: today.AddDate(5, 0, 0), SubjectKeyId: []byte(name),
	}
	if change != nil {
		change(template)
	}
	parent, by := template, key
	if signer != nil {
		parent, by = signer.X509(), signer.key
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by))
	return &made{must(pki.Parse(der)), key}
}

func p256() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func authority(name string, change func(*v1alpha1.Authority)) *v1alpha1.Authority {
	a := &v1alpha1.Authority{
		Metadata: v1alpha1.Metadata{Name: name, Namespace: "pki"},
		Spec:     v1alpha1.AuthoritySpec{Keys: []v1alpha1.AuthorityKey{{Name: "2025", State: v1alpha1.KeySigning}}},
	}
	if change != nil {
		change(a)
	}
	a.Default()
	return a
}

func group(change func(*v1alpha1.DeviceGroupSpec)) *v1alpha1.DeviceGroup {
	g := &v1alpha1.DeviceGroup{
		Metadata: v1alpha1.Metadata{Name: "sensors"},
		Spec: v1alpha1.DeviceGroupSpec{
			Issuer: v1alpha1.IssuerReference{Name: "fleet", Kind: v1alpha1.KindClusterIssuer}, Namespace: "plant",
			Certificate: v1alpha1.DeviceCertificate{DNSNames: []string{"{{ .ID }}.sensors.example"}},
		},
	}
	change(&g.Spec)
	g.Default()
	return g
}

func policy(name string, spec v1alpha1.PolicySpec) *v1alpha1.Policy {
	p := &v1alpha1.Policy{Metadata: v1alpha1.Metadata{Name: name}, Spec: spec}
	p.Default()
	return p
}

// asks is a leaf with further fields.
func asks(fields map[string]any) *unstructured.Unstructured {
	o := leaf("broker", "2160h", "ClusterIssuer", "fleet")
	for field, value := range fields {
		if err := unstructured.SetNestedField(o.Object, value, "spec", field); err != nil {
			panic(err)
		}
	}
	return o
}

// keys of an authority: names with states.
func keys(list ...string) []v1alpha1.AuthorityKey {
	var found []v1alpha1.AuthorityKey
	for _, text := range list {
		name, state, _ := strings.Cut(text, " ")
		found = append(found, v1alpha1.AuthorityKey{Name: name, State: v1alpha1.KeyState(state)})
	}
	return found
}

func given(name string, certificate *made) v1alpha1.AuthorityKey {
	return v1alpha1.AuthorityKey{Name: name, State: v1alpha1.KeySigning, Certificate: string(certificate.PEM())}
}

// signed is the target in which the issuer fleet signs with the key 2025 of root.
func signed() planner.Target {
	return planner.Target{Issuers: []planner.TargetIssuer{{Ref: planner.Ref{Name: "fleet"}, Authority: theRoot, Key: "2025"}}}
}

// TestBuiltInRules has for each rule what it lets pass and what it finds.
func TestBuiltInRules(t *testing.T) {
	type want = []string
	documents := func(objects ...v1alpha1.Object) Input { return Input{Documents: objects} }
	manifests := func(objects ...*unstructured.Unstructured) Input {
		return Input{Plan: planner.Plan{Target: signed()}, Manifests: objects}
	}
	recorded := func(keys ...planner.RecordedKey) planner.Observed {
		return planner.Observed{Record: planner.Record{Enabled: true, Keys: keys}}
	}
	root := issue("Root 2025", nil, p256(), nil)
	flat := issue("Flat", nil, p256(), func(c *x509.Certificate) { c.MaxPathLenZero = true })
	narrow := issue("Narrow", nil, p256(), func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.ExcludedDNSDomains = []string{"plant.example"}, []string{"old.plant.example"}
		c.PermittedIPRanges = []*net.IPNet{{IP: net.IP{10, 0, 0, 0}, Mask: net.CIDRMask(8, 32)}}
		c.PermittedURIDomains, c.PermittedEmailAddresses = []string{".plant.example"}, []string{"plant.example"}
	})
	under := issue("Under", root, p256(), nil)
	leafOf := func(ca *made) planner.Leaf {
		return planner.Leaf{Ref: planner.Ref{Namespace: "plant", Name: "broker"}, Chain: []pki.Certificate{issue("broker", ca, p256(), func(c *x509.Certificate) { c.IsCA = false }).Certificate}}
	}
	standing := planner.Observed{
		Keys:   []planner.Key{{Authority: theRoot, Name: "2025", HasCertificate: true, Certificate: root.Certificate}},
		Leaves: []planner.Leaf{leafOf(root)},
	}
	soakless := func(change func(*v1alpha1.Authority)) *v1alpha1.Authority {
		return authority("root", func(a *v1alpha1.Authority) {
			a.Spec.Rollover.Soak = &metav1.Duration{}
			change(a)
		})
	}
	for name, test := range map[string]struct {
		rule  string
		input Input
		want  want
	}{
		"a small RSA key": {
			RuleWeakKey, manifests(asks(map[string]any{"privateKey": map[string]any{"algorithm": "RSA", "size": int64(1024)}})),
			want{"deny Certificate pki/broker: has an RSA key of 1024 bits, and 2048 is the least that is safe"},
		},
		"a curve that is too small": {
			RuleWeakKey, manifests(asks(map[string]any{"privateKey": map[string]any{"algorithm": "ECDSA", "size": 224.0}})),
			want{"deny Certificate pki/broker: has an ECDSA key on the curve P-224, and P-256 is the least that is safe"},
		},
		"an unknown algorithm": {
			RuleWeakKey, manifests(asks(map[string]any{"privateKey": map[string]any{"algorithm": "DSA"}})),
			want{"deny Certificate pki/broker: has a key of an algorithm that is neither RSA, ECDSA nor Ed25519 (DSA)"},
		},
		"cert-manager's default is good enough for a leaf": {RuleWeakKey, manifests(asks(nil)), nil},
		"and not for a CA": {
			RuleWeakKey, manifests(asks(map[string]any{"isCA": true})),
			want{"warn Certificate pki/broker: is a CA's, and has an RSA key of 2048 bits: 3072 is the least for a key that lives for years"},
		},
		"a given key": {
			RuleWeakKey, documents(authority("root", func(a *v1alpha1.Authority) {
				a.Spec.Keys = []v1alpha1.AuthorityKey{given("old", issue("Weak", nil, must(rsa.GenerateKey(rand.Reader, 1024)), nil))}
			})),
			want{"deny Authority pki/root: the certificate of the key old has an RSA key of 1024 bits, and 2048 is the least that is safe"},
		},
		"an anchor that stands": {
			RuleWeakKey,
			Input{Plan: planner.Plan{Target: planner.Target{Bundles: []planner.TargetBundle{{
				Name: "trust", Anchors: pki.NewAnchors(issue("Weak", nil, must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)), nil).Certificate),
			}}}}},
			want{"warn Bundle trust: the anchor Weak … has an ECDSA key on the curve P-224, and P-256 is the least that is safe"},
		},
		"a weaker successor": {
			RuleWeakKey,
			Input{
				Documents: []v1alpha1.Object{authority("root", func(a *v1alpha1.Authority) {
					a.Spec.PrivateKey = v1alpha1.PrivateKey{Algorithm: v1alpha1.ECDSA, Size: 256}
					a.Spec.Keys = keys("2025 Trusted", "2026 Signing")
				})},
				Observed: recorded(planner.RecordedKey{Authority: "root", Name: "2025", Certificate: issue("R", nil, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), nil).Certificate}),
			},
			want{"warn Authority pki/root: the key 2026 (ECDSA 256) is weaker than 2025 (ECDSA 384), from which it takes over"},
		},
		"a stronger key below the one that signs": {
			RuleWeakKey,
			Input{
				Documents: []v1alpha1.Object{authority("root", func(a *v1alpha1.Authority) {
					a.Spec.PrivateKey = v1alpha1.PrivateKey{Algorithm: v1alpha1.ECDSA, Size: 256}
					a.Spec.Keys = keys("2025 Signing", "2026 Trusted")
				})},
				Observed: recorded(planner.RecordedKey{Authority: "root", Name: "2026", Certificate: issue("R", nil, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), nil).Certificate}),
			},
			want{},
		},
		"a device's request": {
			RuleWeakKey, documents(&v1alpha1.Device{Metadata: v1alpha1.Metadata{Name: "one"}, Spec: v1alpha1.DeviceSpec{Request: requestOf(must(rsa.GenerateKey(rand.Reader, 1024)), nil)}}),
			want{"deny Device one: has an RSA key of 1024 bits, and 2048 is the least that is safe"},
		},

		"a long leaf": {
			RuleLeafLifetime, manifests(asks(map[string]any{"duration": "9553h"})),
			want{"warn Certificate pki/broker: asks for 9553h, and a leaf should live 9552h (398 days) at most"},
		},
		"398 days": {RuleLeafLifetime, manifests(asks(map[string]any{"duration": "9552h"})), nil},
		"long device certificates": {
			RuleLeafLifetime, documents(group(func(s *v1alpha1.DeviceGroupSpec) {
				s.Certificate.Duration = &metav1.Duration{Duration: 87600 * time.Hour}
			})),
			want{"warn DeviceGroup sensors: asks for 87600h, and a leaf should live 9552h (398 days) at most"},
		},
		"a CA for ever": {
			RuleCALifetime, documents(authority("root", func(a *v1alpha1.Authority) { a.Spec.Duration = &metav1.Duration{Duration: 876000 * time.Hour} })),
			want{"warn Authority pki/root: a key lives 876000h, and a CA should live 262980h (30 years) at most"},
		},
		"a given CA for ever": {
			RuleCALifetime, documents(authority("root", func(a *v1alpha1.Authority) {
				a.Spec.Keys = []v1alpha1.AuthorityKey{given("old", issue("Old", nil, p256(), func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(400000 * time.Hour) }))}
			})),
			want{"warn Authority pki/root: the key old lives 400000h, and a CA should live 262980h (30 years) at most"},
		},
		"devices that outlive their CA": {
			RuleCAOutlivesLeaves,
			Input{Plan: thePlan(), Documents: []v1alpha1.Object{group(func(s *v1alpha1.DeviceGroupSpec) {
				s.Certificate.Duration = &metav1.Duration{Duration: 8761 * time.Hour}
			})}},
			want{"deny DeviceGroup sensors: asks for 8761h, and the CA key 2025 of pki/root that signs it lives 8760h"},
		},
		"an old key that ends within the rollover": {
			RuleOverlapTooShort,
			Input{
				Documents: []v1alpha1.Object{authority("root", func(a *v1alpha1.Authority) {
					a.Spec.Keys = keys("2025 Trusted", "2026 Signing")
					a.Spec.Rollover.WaitForOffline = &metav1.Duration{Duration: time.Hour}
					a.Spec.Rollover.Confirm = v1alpha1.ConfirmDevices
				}), group(func(*v1alpha1.DeviceGroupSpec) {})},
				Observed: recorded(planner.RecordedKey{Authority: "root", Name: "2025", Certificate: issue("R", nil, p256(), func(c *x509.Certificate) { c.NotAfter = today.Add(74 * time.Minute) }).Certificate}),
			},
			want{"warn Authority pki/root: the key 2025 ends at 2026-06-01T01:14:00Z, in 1h14m0s, and a rollover takes 1h15m0s at least"},
		},
		"an old key that just covers it": {
			RuleOverlapTooShort, Input{
				Documents: []v1alpha1.Object{authority("root", func(a *v1alpha1.Authority) { a.Spec.Keys = keys("2025 Trusted", "2026 Signing") })},
				Observed:  recorded(planner.RecordedKey{Authority: "root", Name: "2025", Certificate: issue("R", nil, p256(), func(c *x509.Certificate) { c.NotAfter = today.Add(15 * time.Minute) }).Certificate}),
			}, nil,
		},

		"an intermediate under a CA that allows none": {
			RulePathLength, documents(
				authority("root", func(a *v1alpha1.Authority) { a.Spec.Keys = []v1alpha1.AuthorityKey{given("2025", flat)} }),
				authority("issuing", func(a *v1alpha1.Authority) { a.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: "root"} }),
			),
			want{"deny Authority pki/issuing: is the CA number 1 below the key 2025 of root, whose certificate allows 0 (path length): everyone refuses what it signs"},
		},
		"one under a CA that allows one": {
			RulePathLength, documents(
				authority("root", func(a *v1alpha1.Authority) {
					a.Spec.Keys = []v1alpha1.AuthorityKey{given("2025", issue("One", nil, p256(), func(c *x509.Certificate) { c.MaxPathLen = 1 }))}
				}),
				authority("issuing", func(a *v1alpha1.Authority) { a.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: "root"} }),
				authority("deeper", func(a *v1alpha1.Authority) { a.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: "issuing"} }),
			),
			want{"deny Authority pki/deeper: is the CA number 2 below the key 2025 of root, whose certificate allows 1 (path length): everyone refuses what it signs"},
		},
		"names outside the constraints": {
			RuleNameConstraint,
			Input{
				Plan: planner.Plan{Target: signed()},
				Documents: []v1alpha1.Object{
					authority("root", func(a *v1alpha1.Authority) { a.Spec.Keys = []v1alpha1.AuthorityKey{given("2025", narrow)} }),
					group(func(*v1alpha1.DeviceGroupSpec) {}),
				},
				Manifests: []*unstructured.Unstructured{
					renamed("dns", asks(map[string]any{"dnsNames": []any{"a.plant.example", "office.example"}})),
					renamed("excluded", asks(map[string]any{"dnsNames": []any{"a.old.plant.example"}})),
					renamed("ip", asks(map[string]any{"dnsNames": []any{"plant.example"}, "ipAddresses": []any{"10.1.2.3", "192.168.0.1"}})),
					renamed("uri", asks(map[string]any{"dnsNames": []any{}, "uris": []any{"spiffe://a.plant.example/x", "spiffe://plant.example/x"}})),
					renamed("mail", asks(map[string]any{"dnsNames": []any{}, "emailAddresses": []any{"a@plant.example", "a@b.plant.example"}})),
					renamed("good", asks(map[string]any{"dnsNames": []any{"*.line.plant.example"}})),
				},
			},
			want{
				`deny Certificate pki/dns: is for "office.example", which the key 2025 of root may not sign for (name constraints): everyone refuses it`,
				`deny Certificate pki/excluded: is for "a.old.plant.example", which the key 2025 of root may not sign for (name constraints): everyone refuses it`,
				`deny Certificate pki/ip: is for "192.168.0.1", which the key 2025 of root may not sign for (name constraints): everyone refuses it`,
				`deny Certificate pki/mail: is for "a@b.plant.example", which the key 2025 of root may not sign for (name constraints): everyone refuses it`,
				`deny Certificate pki/uri: is for "spiffe://plant.example/x", which the key 2025 of root may not sign for (name constraints): everyone refuses it`,
				`deny DeviceGroup sensors: is for "device.sensors.example", which the key 2025 of root may not sign for (name constraints): everyone refuses it`,
			},
		},
		"constraints further up": {
			RuleNameConstraint,
			Input{
				Plan: planner.Plan{Target: planner.Target{Issuers: []planner.TargetIssuer{{Ref: planner.Ref{Name: "fleet"}, Authority: planner.Ref{Namespace: "pki", Name: "issuing"}, Key: "a.2025"}}}},
				Documents: []v1alpha1.Object{
					authority("root", func(a *v1alpha1.Authority) { a.Spec.Keys = []v1alpha1.AuthorityKey{given("2025", narrow)} }),
					authority("issuing", func(a *v1alpha1.Authority) { a.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: "root"} }),
				},
				Manifests: []*unstructured.Unstructured{asks(map[string]any{"dnsNames": []any{"office.example"}})},
			},
			want{`deny Certificate pki/broker: is for "office.example", which the key 2025 of root may not sign for (name constraints): everyone refuses it`},
		},

		"a leaf that is a CA": {
			RuleLeafIsCA, manifests(asks(map[string]any{"isCA": true, "usages": []any{"client auth", "cert sign"}})),
			want{
				`deny Certificate pki/broker: has the usage "cert sign" under one of our issuers, so that it could sign for anybody, and no plan would know`,
				`deny Certificate pki/broker: is a CA's Certificate (isCA) of one of our issuers, so that it could sign for anybody, and no plan would know`,
			},
		},
		"a CA of another issuer": {RuleLeafIsCA, Input{Manifests: []*unstructured.Unstructured{asks(map[string]any{"isCA": true})}}, nil},
		"isCA that is no boolean": {
			RuleLeafIsCA, manifests(asks(map[string]any{"isCA": "yes"})),
			want{`deny Certificate pki/broker: is a CA's Certificate (isCA) of one of our issuers, so that it could sign for anybody, and no plan would know`},
		},
		"a Certificate that makes a given key": {
			RuleLeafIsCA, Input{
				Plan: planner.Plan{Target: planner.Target{
					Issuers: signed().Issuers, Keys: []planner.TargetKey{{Authority: theRoot, Name: "x", Secret: "broker", Issuer: true}},
				}},
				Manifests: []*unstructured.Unstructured{asks(map[string]any{"isCA": true})},
			}, nil,
		},
		"devices that sign": {
			RuleLeafIsCA, documents(group(func(s *v1alpha1.DeviceGroupSpec) { s.Certificate.Usages = []string{"crl sign"} })),
			want{`deny DeviceGroup sensors: gives its devices the usage "crl sign", so that it could sign for anybody, and no plan would know`},
		},

		"wildcards": {
			RuleWildcardName,
			Input{
				Manifests: []*unstructured.Unstructured{asks(map[string]any{"dnsNames": []any{"*.plant.example", "plant.example"}})},
				Documents: []v1alpha1.Object{group(func(s *v1alpha1.DeviceGroupSpec) { s.Certificate.DNSNames = []string{"*.{{ .ID }}.example"} })},
			},
			want{
				`warn Certificate pki/broker: is for the wildcard "*.plant.example": whoever holds its key passes for every host below`,
				`deny DeviceGroup sensors: is for the wildcard "*.{{ .ID }}.example": whoever holds its key passes for every host below`,
			},
		},
		"a name that all devices share": {
			RuleSharedName, documents(group(func(s *v1alpha1.DeviceGroupSpec) {
				s.Certificate.DNSNames = []string{"{{.ID}}.a.example", "sensors.example"}
			})),
			want{`deny DeviceGroup sensors: gives every device the name "sensors.example", so that each passes for all others`},
		},
		"names outside the team's domains": {
			RuleForeignName,
			Input{
				Manifests: []*unstructured.Unstructured{asks(map[string]any{"dnsNames": []any{"broker", "broker.plant.svc", "*.Plant.example", "plant.example.", "evilplant.example"}})},
				Documents: []v1alpha1.Object{
					policy("a", v1alpha1.PolicySpec{Domains: []string{"svc"}}), policy("b", v1alpha1.PolicySpec{Domains: []string{"plant.example", "svc"}}),
					group(func(*v1alpha1.DeviceGroupSpec) {}),
				},
			},
			want{
				`deny Certificate pki/broker: is for "evilplant.example", which lies in none of the domains that policies list (plant.example, svc)`,
				`deny DeviceGroup sensors: is for "device.sensors.example", which lies in none of the domains that policies list (plant.example, svc)`,
			},
		},
		"no domains at all": {RuleForeignName, manifests(asks(nil)), nil},

		"a Bundle that reads a Secret": {
			RuleAnchorUnpinned, manifests(object("trust.cert-manager.io/v1alpha1", "Bundle", "", "theirs", spec(map[string]any{
				"sources": []any{map[string]any{"inLine": "x"}, map[string]any{"secret": map[string]any{"name": "ca"}}},
			}))),
			want{"warn Bundle theirs: reads anchors from elsewhere (spec.sources[1]): the old root is gone the moment that changes"},
		},

		"a key in use that goes": {
			RuleAuthorityInUse,
			Input{Observed: standing},
			want{"deny Authority pki/root: the plan takes the key 2025 away, and the Certificate plant/broker, which it signed, lives until 2031-06-01T00:00:00Z"},
		},
		"a key in use that stays":   {RuleAuthorityInUse, Input{Observed: standing, Plan: planner.Plan{Target: planner.Target{Keys: []planner.TargetKey{{Authority: theRoot, Name: "2025"}}}}}, nil},
		"a key that ends":           {RuleAuthorityInUse, Input{Observed: standing, Now: root.NotAfter().Add(-30 * time.Second)}, nil},
		"a key that is compromised": {RuleAuthorityInUse, Input{Observed: standing, Documents: []v1alpha1.Object{authority("root", func(a *v1alpha1.Authority) { a.Spec.Keys = keys("2025 Compromised", "2026 Signing") })}}, nil},
		"a key that is drained":     {RuleAuthorityInUse, Input{Observed: planner.Observed{Keys: standing.Keys, Leaves: []planner.Leaf{leafOf(under)}}}, nil},
		"a chain that is not known": {RuleAuthorityInUse, Input{Observed: planner.Observed{Keys: standing.Keys, Leaves: []planner.Leaf{{}}}}, nil},
		"a fifth of the devices":    {RuleMassDeletion, Input{Devices: Devices{100, 20}}, nil},
		"one device of two":         {RuleMassDeletion, Input{Devices: Devices{2, 1}}, nil},
		"over a fifth of them": {
			RuleMassDeletion,
			Input{Devices: Devices{100, 21}},
			want{"deny Devices: 21 of 100 devices would go at once, and 20% may"},
		},
		"a retired name": {
			RuleKeyNameReused,
			Input{
				Documents: []v1alpha1.Object{authority("root", nil)},
				Observed:  recorded(planner.RecordedKey{Authority: "root", Name: "2025", Certificate: root.Certificate, Retired: true}),
			},
			want{"deny Authority pki/root: the key 2025 was retired (Root 2025 …): its name is used up"},
		},
		"another key under a name": {
			RuleKeyNameReused,
			Input{
				Documents: []v1alpha1.Object{authority("root", func(a *v1alpha1.Authority) { a.Spec.Keys = []v1alpha1.AuthorityKey{given("2025", flat)} })},
				Observed:  recorded(planner.RecordedKey{Authority: "root", Name: "2025", Certificate: root.Certificate}),
			},
			want{"deny Authority pki/root: the key 2025 is on record as Root 2025 …, and Git gives another certificate for it"},
		},

		"no soak in production, by its label": {
			RuleNoSoak, documents(soakless(func(a *v1alpha1.Authority) {
				a.Metadata.Labels = map[string]string{v1alpha1.LabelEnvironment: "production"}
			})),
			want{"deny Authority pki/root: is in production and rolls over without soak"},
		},
		"by its namespace's": {
			RuleNoSoak,
			Input{
				Documents: []v1alpha1.Object{authority("root", func(a *v1alpha1.Authority) { a.Spec.Rollover.Skew = &metav1.Duration{} })},
				Manifests: []*unstructured.Unstructured{labelled(v1alpha1.LabelEnvironment, "production", object("v1", "Namespace", "", "pki", map[string]any{}))},
			},
			want{"deny Authority pki/root: is in production and rolls over without skew"},
		},
		"by the TrustDomain's": {
			RuleNoSoak,
			Input{Production: true, Documents: []v1alpha1.Object{soakless(func(*v1alpha1.Authority) {})}},
			want{"deny Authority pki/root: is in production and rolls over without soak"},
		},
		"no soak in staging": {
			RuleNoSoak, documents(soakless(func(a *v1alpha1.Authority) {
				a.Metadata.Labels = map[string]string{v1alpha1.LabelEnvironment: "staging"}
				a.Spec.Keys = keys("2025 Trusted", "2026 Signing")
			})),
			want{"warn Authority pki/root: rolls over without soak: what fails at a new anchor shows only when it signs already"},
		},
		"no soak and one key":  {RuleNoSoak, documents(soakless(func(*v1alpha1.Authority) {})), nil},
		"soak and skew enough": {RuleNoSoak, Input{Production: true, Documents: []v1alpha1.Object{authority("root", nil)}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if test.input.Now.IsZero() {
				test.input.Now = today
			}
			var got []string
			for _, violation := range of(Check(test.input), test.rule) {
				got = append(got, string(violation.Severity)+" "+violation.Subject+": "+violation.Message)
				if violation.Mend == "" {
					t.Errorf("%s does not say what to do", violation)
				}
			}
			if !slices.EqualFunc(got, test.want, like) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(test.want, "\n\t"))
			}
		})
	}
}

// like reports whether a text is as wanted; "…" stands for a fingerprint in brackets.
func like(got, want string) bool {
	before, after, open := strings.Cut(want, "…")
	return got == want || open && strings.HasPrefix(got, before) && strings.HasSuffix(got, after)
}

func renamed(name string, o *unstructured.Unstructured) *unstructured.Unstructured {
	o.SetName(name)
	return o
}

func labelled(key, value string, o *unstructured.Unstructured) *unstructured.Unstructured {
	o.SetLabels(map[string]string{key: value})
	return o
}

// requestOf is a CSR in PEM of a key.
func requestOf(key crypto.Signer, names []string) string {
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "one"}, DNSNames: names}, key))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// withMD5 is a certificate that says that it was signed with RSA and MD5, which Go does not do:
// the identifiers differ in their last byte alone. Its signature is wrong, and nobody looks.
func withMD5(certificate *made) *made {
	der := []byte(strings.ReplaceAll(string(certificate.X509().Raw), "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04"))
	return &made{must(pki.Parse(der)), certificate.key}
}

func TestWeakSignatures(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	root := issue("Root", nil, key, nil)
	below := withMD5(issue("Below", root, key, nil))
	old := withMD5(root)
	input := Input{
		Now: today,
		Documents: []v1alpha1.Object{
			authority("good", func(a *v1alpha1.Authority) { a.Spec.Keys = []v1alpha1.AuthorityKey{given("a", root)} }),
			authority("below", func(a *v1alpha1.Authority) { a.Spec.Keys = []v1alpha1.AuthorityKey{given("a", below)} }),
			&v1alpha1.TrustBundle{Metadata: v1alpha1.Metadata{Name: "trust"}, Spec: v1alpha1.TrustBundleSpec{Certificates: []string{string(old.PEM())}}},
		},
		Plan: planner.Plan{Target: planner.Target{Bundles: []planner.TargetBundle{{Name: "other", Anchors: pki.NewAnchors(withMD5(issue("Stranger", root, key, nil)).Certificate)}}}},
	}
	var got []string
	for _, v := range of(Check(input), RuleWeakSignature) {
		got = append(got, string(v.Severity)+" "+v.Subject)
		if !strings.Contains(v.Message, "is signed with MD5-RSA, which can be forged") {
			t.Errorf("got %s", v.Message)
		}
	}
	if want := []string{"deny Authority pki/below", "warn Bundle other", "warn TrustBundle trust"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStrengths(t *testing.T) {
	for _, test := range []struct {
		key
		want int
	}{
		{key{"RSA", 1024}, 80},
		{key{"RSA", 2048}, 112},
		{key{"RSA", 3072}, 128},
		{key{"RSA", 4096}, 128},
		{key{"RSA", 8192}, 192},
		{key{"ECDSA", 224}, 112},
		{key{"ECDSA", 256}, 128},
		{key{"ECDSA", 384}, 192},
		{key{"ECDSA", 521}, 256},
		{keyOf(ed25519.PublicKey{}), 128},
		{keyOf(struct{}{}), 0},
	} {
		if got := test.strength(); got != test.want {
			t.Errorf("%s has %d bits of security, want %d", test.key, got, test.want)
		}
	}
}

// Every rule that there is stands in the package's comment, and has a name once.
func TestRulesAreDocumented(t *testing.T) {
	doc := string(must(os.ReadFile("doc.go")))
	seen := map[string]bool{}
	for _, rule := range BuiltIn() {
		if seen[rule.Name] || rule.Says == "" || len(rule.Severities) == 0 {
			t.Errorf("%+v stands twice or says nothing", rule)
		}
		seen[rule.Name] = true
		mark := ""
		if !rule.Exemptable {
			mark = " *"
		}
		if !strings.Contains(doc, fmt.Sprintf("//	%-23s ", rule.Name+mark)) {
			t.Errorf("the package's comment does not tell of %s", rule.Name)
		}
	}
}
