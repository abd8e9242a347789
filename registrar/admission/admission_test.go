package admission_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// The CAs of all tests.
var (
	factoryCA = registrartest.Root("Factory", now)
	fleetCA   = registrartest.Root("Fleet 2026", now)
	strangeCA = registrartest.Root("Elsewhere", now)
)

const name = "sensor-1.sensors.example"

// newWorld has a group whose certificates have one DNS name.
func newWorld(change func(*v1alpha1.DeviceGroupSpec)) *registrartest.World {
	w := registrartest.NewWorld(fleetCA, func() time.Time { return now })
	w.Group("sensors", factoryCA, func(spec *v1alpha1.DeviceGroupSpec) {
		spec.Certificate.DNSNames = []string{"{{ .ID }}.sensors.example"}
		if change != nil {
			change(spec)
		}
	})
	return w
}

// scene is one ask: what is shown, and what is asked for.
type scene struct {
	group   func(*v1alpha1.DeviceGroupSpec)
	devices []admission.Device
	chain   []pki.Certificate
	label   string
	asks    admission.Operation
	csr     []byte
	rules   admission.Rules
	at      time.Time
}

// run tells what becomes of a scene.
func (s scene) run() (admission.Decision, *admission.Refusal) {
	w := newWorld(s.group)
	for _, device := range s.devices {
		w.Put(device)
	}
	fleet, _ := w.Fleet()
	if s.at.IsZero() {
		s.at = now
	}
	var request admission.Request
	var malformed *admission.Refusal
	if s.csr != nil {
		request, malformed = admission.ParseRequest(s.csr)
	}
	caller, refusal := admission.Identify(fleet, s.chain, s.label, request.Key, s.at)
	if refusal = cmp.Or(refusal, malformed); refusal != nil {
		return admission.Decision{}, refusal
	}
	ask := admission.Ask{Caller: caller, Operation: cmp.Or(s.asks, admission.Enrol), Request: request, Rules: s.rules, Now: s.at}
	return admission.Decide(fleet, ask)
}

// bootstrap is a factory certificate.
func bootstrap(id string, change ...func(*x509.Certificate)) []pki.Certificate {
	return []pki.Certificate{factoryCA.Sign(registrartest.Leaf(id, now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0), change...), &registrartest.Key().PublicKey)}
}

// own is an operational certificate of a key.
func own(id string, key *ecdsa.PrivateKey, to time.Time) []pki.Certificate {
	return []pki.Certificate{fleetCA.Sign(registrartest.Leaf(id, now.AddDate(0, -3, 0), to, func(c *x509.Certificate) { c.DNSNames = []string{id + ".sensors.example"} }), &key.PublicKey)}
}

func active(id string, key *ecdsa.PrivateKey) admission.Device {
	return admission.Device{Group: "sensors", ID: id, State: v1alpha1.DeviceActive, Key: registrartest.KeyID(&key.PublicKey)}
}

func quota(n int) func(*v1alpha1.DeviceGroupSpec) {
	return func(spec *v1alpha1.DeviceGroupSpec) { spec.Recovery.Quota = n }
}

func with(d admission.Device, change func(*admission.Device)) admission.Device {
	change(&d)
	return d
}

func extension(id asn1.ObjectIdentifier, value any, options ...string) func(*x509.CertificateRequest) {
	der, err := asn1.MarshalWithParams(value, strings.Join(options, ","))
	if err != nil {
		panic(err)
	}
	return func(r *x509.CertificateRequest) {
		r.ExtraExtensions = append(r.ExtraExtensions, pkix.Extension{Id: id, Value: der})
	}
}

type basicConstraints struct {
	IsCA bool `asn1:"optional"`
}

// forbidding is a rule that forbids all.
type forbidding struct{}

func (forbidding) CheckRequest(string, string, v1alpha1.DeviceGroup, time.Time) []policies.Violation {
	return []policies.Violation{{Rule: "none", Severity: policies.Deny, Subject: "Device sensor-1", Message: "no", Mend: "ask"}, {Rule: "warned", Severity: policies.Warn}}
}

func rsaKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// TestAbuse holds each way in which a request may be wrong against its answer.
func TestAbuse(t *testing.T) {
	key, other, first := registrartest.Key(), registrartest.Key(), registrartest.Key()
	names := []string{name}
	csr := registrartest.CSR(key, "sensor-1", names)
	asking := func(change ...func(*x509.CertificateRequest)) []byte {
		return registrartest.CSR(key, "sensor-1", names, change...)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	unsigned := slices.Clone(csr)
	unsigned[len(unsigned)-1] ^= 1
	uri, _ := url.Parse("urn:x")
	fresh := bootstrap("sensor-1")
	blocked := with(active("sensor-1", key), func(d *admission.Device) { d.State = v1alpha1.DeviceBlocked })
	retired := with(active("sensor-1", key), func(d *admission.Device) { d.State = v1alpha1.DeviceRetired })
	moved := with(active("sensor-1", key), func(d *admission.Device) {
		d.Superseded, d.Recoveries = []pki.Fingerprint{registrartest.KeyID(&first.PublicKey)}, 1
	})
	third := registrartest.Key()
	rekeyed := with(active("sensor-1", key), func(d *admission.Device) {
		d.Rekeyed = registrartest.KeyID(&first.PublicKey)
		d.Superseded = []pki.Fingerprint{d.Rekeyed}
	})
	inUse := with(rekeyed, func(d *admission.Device) { d.Shown = true })
	rekeyedTwice := with(active("sensor-1", third), func(d *admission.Device) {
		d.Rekeyed = rekeyed.Key
		d.Superseded = append(slices.Clone(rekeyed.Superseded), rekeyed.Key)
	})
	full := active("sensor-1", other)
	for i := range 900 { // of some 80 bytes each
		full.Superseded = append(full.Superseded, pki.Fingerprint{1, byte(i), byte(i >> 8)})
	}
	signedByAnother := slices.Clone(csr)
	signedByAnother[len(signedByAnother)-1] ^= 1
	both := func(spec *v1alpha1.DeviceGroupSpec) {
		spec.Certificate.KeyAlgorithms = []v1alpha1.KeyAlgorithm{v1alpha1.RSA, v1alpha1.ECDSA}
	}
	for title, test := range map[string]struct {
		scene
		status  int
		problem admission.Problem
		event   bool
	}{
		"no certificate":                 {scene{csr: csr}, 401, admission.ProblemNoCertificate, false},
		"unknown CA":                     {scene{csr: csr, chain: []pki.Certificate{strangeCA.Sign(registrartest.Leaf("sensor-1", now, now.AddDate(1, 0, 0)), &key.PublicKey)}}, 403, admission.ProblemUnknownCA, false},
		"another leaf of the fleet's CA": {scene{csr: csr, chain: own("sensor-1", other, now.AddDate(1, 0, 0))}, 403, admission.ProblemUnknownCA, false},
		"a server's factory certificate": {scene{csr: csr, chain: bootstrap("sensor-1", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, 403, admission.ProblemUnknownCA, false},
		"too long a chain":               {scene{csr: csr, chain: slices.Repeat(fresh, 11)}, 400, admission.ProblemRequest, false},
		"expired factory certificate":    {scene{csr: csr, chain: bootstrap("sensor-1", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) })}, 403, admission.ProblemExpired, false},
		"factory certificate too early":  {scene{csr: csr, chain: bootstrap("sensor-1", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) })}, 403, admission.ProblemExpired, false},
		"expired factory CA":             {scene{csr: csr, chain: bootstrap("sensor-1", func(c *x509.Certificate) { c.NotAfter = now.AddDate(50, 0, 0) }), at: now.AddDate(6, 0, 0)}, 403, admission.ProblemExpired, false},
		"expired operational":            {scene{csr: csr, devices: []admission.Device{active("sensor-1", key)}, chain: own("sensor-1", key, now.Add(-time.Second))}, 403, admission.ProblemExpired, false},
		"expired for too long": {scene{
			csr: csr, devices: []admission.Device{active("sensor-1", key)}, chain: own("sensor-1", key, now.Add(-2*time.Hour)),
			group: func(s *v1alpha1.DeviceGroupSpec) { s.Recovery.AcceptExpired = &metav1.Duration{Duration: time.Hour} },
		}, 403, admission.ProblemExpired, false},

		"another subject":   {scene{csr: registrartest.CSR(key, "sensor-2", names), chain: fresh}, 403, admission.ProblemNames, false},
		"more of a subject": {scene{csr: asking(func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"x"} }), chain: fresh}, 403, admission.ProblemNames, false},
		"two common names": {scene{csr: asking(func(r *x509.CertificateRequest) {
			r.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 3}, Value: "admin"}, {Type: []int{2, 5, 4, 3}, Value: "sensor-1"}}
		}), chain: fresh}, 403, admission.ProblemNames, false},
		"no subject":    {scene{csr: registrartest.CSR(key, "", names), chain: fresh}, 403, admission.ProblemNames, false},
		"a missing SAN": {scene{csr: registrartest.CSR(key, "sensor-1", nil), chain: fresh}, 403, admission.ProblemNames, false},
		"a foreign SAN": {scene{csr: registrartest.CSR(key, "sensor-1", []string{name, "broker.example"}), chain: fresh}, 403, admission.ProblemNames, false},
		"a SAN twice":   {scene{csr: registrartest.CSR(key, "sensor-1", []string{name, name}), chain: fresh}, 403, admission.ProblemNames, false},
		"a URI":         {scene{csr: asking(func(r *x509.CertificateRequest) { r.URIs = []*url.URL{uri} }), chain: fresh}, 403, admission.ProblemNames, false},
		"a SAN that nobody parses": {scene{csr: asking(func(r *x509.CertificateRequest) {
			r.DNSNames = nil
			extension([]int{2, 5, 29, 17}, []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte(name)}, {Class: 2, Tag: 8, Bytes: []byte{42, 3}}})(r)
		}), chain: fresh}, 403, admission.ProblemNames, false},
		"CA:TRUE with the names that it has": {scene{csr: asking(extension([]int{2, 5, 29, 19}, basicConstraints{true})), chain: own("sensor-1", key, now.AddDate(0, 0, 9)), devices: []admission.Device{active("sensor-1", key)}}, 403, admission.ProblemNames, false},
		"names that it never had":            {scene{csr: registrartest.CSR(key, "sensor-1", []string{"sensor-1.other.example"}), chain: own("sensor-1", key, now.AddDate(0, 0, 9)), devices: []admission.Device{active("sensor-1", key)}}, 403, admission.ProblemNames, false},
		"CA:TRUE":                            {scene{csr: asking(extension([]int{2, 5, 29, 19}, basicConstraints{true})), chain: fresh}, 403, admission.ProblemNames, false},
		"constraints that nobody can read":   {scene{csr: asking(extension([]int{2, 5, 29, 19}, 1)), chain: fresh}, 403, admission.ProblemNames, false},
		"an extra EKU":                       {scene{csr: asking(extension([]int{2, 5, 29, 37}, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 2}, {1, 3, 6, 1, 5, 5, 7, 3, 1}})), chain: fresh}, 403, admission.ProblemNames, false},
		"a key usage":                        {scene{csr: asking(extension([]int{2, 5, 29, 15}, asn1.BitString{Bytes: []byte{0x04}, BitLength: 6})), chain: fresh}, 403, admission.ProblemNames, false},
		"name constraints":                   {scene{csr: asking(extension([]int{2, 5, 29, 30}, []asn1.RawValue{})), chain: fresh}, 403, admission.ProblemNames, false},
		"an unknown extension":               {scene{csr: asking(extension([]int{1, 2, 3, 4}, "x")), chain: fresh}, 403, admission.ProblemNames, false},
		"a rule forbids it":                  {scene{csr: csr, chain: fresh, rules: forbidding{}}, 403, admission.ProblemPolicy, false},

		"a bad signature": {scene{csr: unsigned, chain: fresh}, 400, admission.ProblemRequest, false},
		"no CSR":          {scene{csr: []byte("x"), chain: fresh}, 400, admission.ProblemRequest, false},
		"bytes after it":  {scene{csr: append(slices.Clone(csr), 0), chain: fresh}, 400, admission.ProblemRequest, false},
		"weak RSA":        {scene{csr: registrartest.CSR(rsaKey(1024), "sensor-1", names), chain: fresh, group: both}, 400, admission.ProblemKey, false},
		"RSA not allowed": {scene{csr: registrartest.CSR(rsaKey(2048), "sensor-1", names), chain: fresh}, 400, admission.ProblemKey, false},
		"SHA-1":           {scene{csr: sha1Request, chain: fresh, group: both}, 400, admission.ProblemRequest, false},
		"a curve":         {scene{csr: registrartest.CSR(p224, "sensor-1", names), chain: fresh}, 400, admission.ProblemKey, false},
		"Ed25519":         {scene{csr: registrartest.CSR(edwards, "sensor-1", names), chain: fresh, group: both}, 400, admission.ProblemKey, false},

		"not on the list": {scene{csr: csr, chain: fresh, group: func(s *v1alpha1.DeviceGroupSpec) {
			s.Approval, s.Allow = v1alpha1.ApprovalAllowList, []string{"sensor-2*"}
		}}, 403, admission.ProblemNotAllowed, false},
		"blocked":          {scene{csr: csr, chain: fresh, devices: []admission.Device{blocked}}, 403, admission.ProblemBlocked, false},
		"blocked, its own": {scene{csr: csr, chain: own("sensor-1", key, now.AddDate(1, 0, 0)), devices: []admission.Device{blocked}}, 403, admission.ProblemBlocked, false},
		"retired":          {scene{csr: csr, chain: fresh, devices: []admission.Device{retired}}, 403, admission.ProblemBlocked, false},

		"a new key":                  {scene{csr: registrartest.CSR(other, "sensor-1", names), chain: fresh, devices: []admission.Device{active("sensor-1", key)}}, 403, admission.ProblemKeyChanged, false},
		"a new key, quota used up":   {scene{csr: registrartest.CSR(other, "sensor-1", names), chain: fresh, group: quota(1), devices: []admission.Device{moved}}, 403, admission.ProblemKeyChanged, false},
		"another device's key":       {scene{csr: csr, chain: fresh, devices: []admission.Device{active("sensor-2", key)}}, 409, admission.ProblemKeyInUse, true},
		"a key that another gave up": {scene{csr: registrartest.CSR(first, "sensor-2", []string{"sensor-2.sensors.example"}), chain: bootstrap("sensor-2"), devices: []admission.Device{moved}}, 409, admission.ProblemKeyInUse, true},
		"a superseded certificate":   {scene{csr: csr, chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{moved}}, 403, admission.ProblemSuperseded, true},
		"a superseded key":           {scene{csr: registrartest.CSR(first, "sensor-1", names), chain: fresh, group: quota(9), devices: []admission.Device{moved}}, 403, admission.ProblemSuperseded, true},

		"rekeyed, another request":   {scene{csr: registrartest.CSR(third, "sensor-1", names), chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{rekeyed}}, 403, admission.ProblemSuperseded, true},
		"rekeyed, the same key":      {scene{csr: registrartest.CSR(first, "sensor-1", names), chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{rekeyed}}, 403, admission.ProblemSuperseded, true},
		"rekeyed, no CSR":            {scene{chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{rekeyed}}, 403, admission.ProblemWhoMakesKeys, false},
		"rekeyed, and in use":        {scene{csr: csr, chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{inUse}}, 403, admission.ProblemSuperseded, true},
		"rekeyed, in use, no CSR":    {scene{chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{inUse}}, 403, admission.ProblemSuperseded, true},
		"recovered, no CSR":          {scene{chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{moved}}, 403, admission.ProblemSuperseded, true},
		"rekeyed, long ago":          {scene{chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{with(rekeyed, func(d *admission.Device) { d.Issued = now.Add(-61 * time.Minute) })}}, 403, admission.ProblemSuperseded, true},
		"rekeyed, a moment ago":      {scene{chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{with(rekeyed, func(d *admission.Device) { d.Issued = now.Add(-time.Minute) })}}, 403, admission.ProblemWhoMakesKeys, false},
		"rekeyed since":              {scene{csr: registrartest.CSR(third, "sensor-1", names), chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{rekeyedTwice}}, 403, admission.ProblemSuperseded, true},
		"rekeyed, not the key's":     {scene{csr: signedByAnother, chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{rekeyed}}, 400, admission.ProblemRequest, false},
		"rekeyed and blocked":        {scene{csr: csr, chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{with(rekeyed, func(d *admission.Device) { d.State = v1alpha1.DeviceBlocked })}}, 403, admission.ProblemBlocked, false},
		"rekeyed, the cluster's key": {scene{csr: csr, chain: own("sensor-1", first, now.AddDate(1, 0, 0)), devices: []admission.Device{rekeyed}, asks: admission.Generate, group: func(s *v1alpha1.DeviceGroupSpec) { s.Keys = v1alpha1.KeysCluster }}, 403, admission.ProblemSuperseded, true},

		"a full document": {scene{csr: csr, chain: own("sensor-1", other, now.AddDate(1, 0, 0)), devices: []admission.Device{full}}, 403, admission.ProblemTooLarge, false},

		"no such label":         {scene{csr: csr, chain: fresh, label: "meters"}, 404, admission.ProblemGroup, false},
		"no such label, nobody": {scene{csr: csr, label: "meters"}, 404, admission.ProblemGroup, false},

		"an id with ../":       {scene{csr: csr, chain: bootstrap("../../authorities/root")}, 400, admission.ProblemID, false},
		"an id with ..\\":      {scene{csr: csr, chain: bootstrap(`a\..\b`)}, 400, admission.ProblemID, false},
		"an id with a line":    {scene{csr: csr, chain: bootstrap("a\nstate: Active")}, 400, admission.ProblemID, false},
		"an id of YAML":        {scene{csr: csr, chain: bootstrap("a: {b: c}")}, 400, admission.ProblemID, false},
		"an id like an anchor": {scene{csr: csr, chain: bootstrap("&a")}, 400, admission.ProblemID, false},
		"an id with bidi":      {scene{csr: csr, chain: bootstrap("sensor-\u202e1")}, 400, admission.ProblemID, false},
		"an id of 254":         {scene{csr: csr, chain: bootstrap(strings.Repeat("a", 254))}, 400, admission.ProblemID, false},
		"an id for no name":    {scene{csr: csr, chain: bootstrap("SN 4711")}, 400, admission.ProblemID, false},
		"an id with capitals":  {scene{csr: registrartest.CSR(key, "Sensor-1", []string{"Sensor-1.sensors.example"}), chain: bootstrap("Sensor-1")}, 400, admission.ProblemID, false},
		"no id":                {scene{csr: csr, chain: bootstrap("")}, 403, admission.ProblemIdentity, false},
		"two ids": {scene{csr: csr, chain: bootstrap("a", func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 3}, Value: "a"}, {Type: []int{2, 5, 4, 3}, Value: "b"}}
		})}, 403, admission.ProblemIdentity, false},

		"keys of the cluster, a CSR":  {scene{csr: csr, chain: fresh, group: func(s *v1alpha1.DeviceGroupSpec) { s.Keys = v1alpha1.KeysCluster }}, 403, admission.ProblemWhoMakesKeys, false},
		"keys of the device, none":    {scene{chain: fresh}, 403, admission.ProblemWhoMakesKeys, false},
		"serverkeygen for a device's": {scene{csr: csr, chain: fresh, asks: admission.Generate}, 403, admission.ProblemWhoMakesKeys, false},
		"reenrol by the factory's":    {scene{csr: csr, chain: fresh, asks: admission.Reenrol}, 403, admission.ProblemNames, false},
		"reenrol under another name":  {scene{csr: registrartest.CSR(key, "sensor-1", nil), chain: own("sensor-1", key, now.AddDate(1, 0, 0)), devices: []admission.Device{active("sensor-1", key)}, asks: admission.Reenrol}, 403, admission.ProblemNames, false},
	} {
		t.Run(title, func(t *testing.T) {
			decision, refusal := test.run()
			switch {
			case refusal == nil:
				t.Fatalf("was decided: %+v", decision)
			case refusal.Status != test.status || refusal.Problem != test.problem || refusal.Event != test.event:
				t.Errorf("got %d %s (event %t): %s", refusal.Status, refusal.Problem, refusal.Event, refusal)
			case strings.ContainsAny(refusal.Detail, "\r\n"):
				t.Errorf("%q is not one line", refusal.Detail)
			}
		})
	}
}

// TestGranted holds what is granted against what is to stand in Git.
func TestGranted(t *testing.T) {
	key, other, third := registrartest.Key(), registrartest.Key(), registrartest.Key()
	names := []string{name}
	csr, anew := registrartest.CSR(key, "sensor-1", names), registrartest.CSR(other, "sensor-1", names)
	registered := active("sensor-1", key)
	rekeyed := with(active("sensor-1", other), func(d *admission.Device) {
		d.Superseded, d.Rekeyed = []pki.Fingerprint{registered.Key}, registered.Key
	})
	recovered := with(rekeyed, func(d *admission.Device) { d.Recoveries, d.Rekeyed = 1, pki.Fingerprint{} })
	full := with(registered, func(d *admission.Device) {
		for i := range 900 {
			d.Superseded = append(d.Superseded, pki.Fingerprint{1, byte(i), byte(i >> 8)})
		}
	})
	recoveredLater := with(recovered, func(d *admission.Device) {
		d.Key, d.Superseded = registrartest.KeyID(&third.PublicKey), append(slices.Clone(rekeyed.Superseded), rekeyed.Key)
	})
	cluster := func(s *v1alpha1.DeviceGroupSpec) { s.Keys = v1alpha1.KeysCluster }
	otherNames := func(s *v1alpha1.DeviceGroupSpec) { s.Certificate.DNSNames = []string{"{{ .ID }}.meters.example"} }
	for title, test := range map[string]struct {
		scene
		verdict  admission.Verdict
		device   admission.Device
		approval v1alpha1.Approval
	}{
		"new":                                 {scene{csr: csr, chain: bootstrap("sensor-1")}, admission.Register, registered, v1alpha1.ApprovalAutomatic},
		"an id with capitals, in no DNS name": {scene{csr: registrartest.CSR(key, "Sensor-1", nil), chain: bootstrap("Sensor-1"), group: func(s *v1alpha1.DeviceGroupSpec) { s.Certificate.DNSNames = nil }}, admission.Register, with(registered, func(d *admission.Device) { d.ID = "Sensor-1" }), v1alpha1.ApprovalAutomatic},
		"new, by label":                       {scene{csr: csr, chain: bootstrap("sensor-1"), label: "sensors"}, admission.Register, registered, v1alpha1.ApprovalAutomatic},
		"new, by a pull request":              {scene{csr: csr, chain: bootstrap("sensor-1"), group: func(s *v1alpha1.DeviceGroupSpec) { s.Approval = v1alpha1.ApprovalPullRequest }}, admission.Register, registered, v1alpha1.ApprovalPullRequest},
		"new, on the list": {scene{csr: csr, chain: bootstrap("sensor-1"), group: func(s *v1alpha1.DeviceGroupSpec) {
			s.Approval, s.Allow = v1alpha1.ApprovalAllowList, []string{"sensor-?"}
		}}, admission.Register, registered, v1alpha1.ApprovalAllowList},
		"listed by hand": {scene{csr: csr, chain: bootstrap("sensor-1"), devices: []admission.Device{{Group: "sensors", ID: "sensor-1", State: v1alpha1.DeviceActive}}}, admission.Register, registered, v1alpha1.ApprovalAutomatic},
		"usages of the group, CA:FALSE and a key id": {scene{
			csr: registrartest.CSR(key, "sensor-1", names, extension([]int{2, 5, 29, 37}, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 2}}),
				extension([]int{2, 5, 29, 19}, basicConstraints{}), extension([]int{2, 5, 29, 14}, []byte{1})), chain: bootstrap("sensor-1"),
		}, admission.Register, registered, v1alpha1.ApprovalAutomatic},
		"again":   {scene{csr: csr, chain: bootstrap("sensor-1"), devices: []admission.Device{registered}}, admission.Existing, registered, v1alpha1.ApprovalAutomatic},
		"renewed": {scene{csr: csr, chain: own("sensor-1", key, now.AddDate(0, 0, 9)), devices: []admission.Device{registered}, asks: admission.Reenrol}, admission.Existing, registered, v1alpha1.ApprovalAutomatic},
		"renewed, and the group derives other names now": {scene{csr: csr, chain: own("sensor-1", key, now.AddDate(0, 0, 9)), devices: []admission.Device{registered}, asks: admission.Reenrol, group: otherNames}, admission.Existing, registered, v1alpha1.ApprovalAutomatic},
		"again, and the group derives other names now":   {scene{csr: csr, chain: own("sensor-1", key, now.AddDate(0, 0, 9)), devices: []admission.Device{registered}, group: otherNames}, admission.Existing, registered, v1alpha1.ApprovalAutomatic},
		"renewed after its end":                          {scene{csr: csr, chain: own("sensor-1", key, now.Add(-time.Minute)), devices: []admission.Device{registered}, asks: admission.Reenrol, group: func(s *v1alpha1.DeviceGroupSpec) { s.Recovery.AcceptExpired = &metav1.Duration{Duration: time.Hour} }}, admission.Existing, registered, v1alpha1.ApprovalAutomatic},
		"another key, its own shown":                     {scene{csr: anew, chain: own("sensor-1", key, now.AddDate(0, 0, 9)), devices: []admission.Device{registered}, asks: admission.Reenrol}, admission.Rekey, rekeyed, v1alpha1.ApprovalAutomatic},
		"rekeyed, and comes again long after":            {scene{csr: anew, chain: own("sensor-1", key, now.AddDate(0, 0, 9)), devices: []admission.Device{with(rekeyed, func(d *admission.Device) { d.Issued = now.AddDate(0, -1, 0) })}}, admission.Existing, rekeyed, v1alpha1.ApprovalAutomatic},
		"rekeyed, and no answer came":                    {scene{csr: anew, chain: own("sensor-1", key, now.AddDate(0, 0, 9)), devices: []admission.Device{rekeyed}, asks: admission.Reenrol}, admission.Existing, rekeyed, v1alpha1.ApprovalAutomatic},
		"came back after a rekey":                        {scene{csr: registrartest.CSR(third, "sensor-1", names), chain: bootstrap("sensor-1"), devices: []admission.Device{rekeyed}, group: quota(1)}, admission.Recover, recoveredLater, v1alpha1.ApprovalAutomatic},
		"came back":                                      {scene{csr: anew, chain: bootstrap("sensor-1"), devices: []admission.Device{registered}, group: quota(1)}, admission.Recover, recovered, v1alpha1.ApprovalAutomatic},
		"reenrol is let in":                              {scene{csr: csr, chain: bootstrap("sensor-1"), asks: admission.Reenrol, group: func(s *v1alpha1.DeviceGroupSpec) { s.Bootstrap.Reenroll = true }}, admission.Register, registered, v1alpha1.ApprovalAutomatic},
		"again, its document is full":                    {scene{csr: csr, chain: bootstrap("sensor-1"), devices: []admission.Device{full}}, admission.Existing, full, v1alpha1.ApprovalAutomatic},
		"the cluster's key":                              {scene{chain: bootstrap("sensor-1"), group: cluster}, admission.Register, with(registered, func(d *admission.Device) { d.Key = pki.Fingerprint{} }), v1alpha1.ApprovalAutomatic},
		"serverkeygen":                                   {scene{csr: registrartest.CSR(rsaKey(1024), "sensor-1", names), chain: bootstrap("sensor-1"), asks: admission.Generate, group: cluster, devices: []admission.Device{registered}}, admission.Existing, registered, v1alpha1.ApprovalAutomatic},
	} {
		t.Run(title, func(t *testing.T) {
			decision, refusal := test.run()
			if refusal != nil {
				t.Fatalf("refused: %s", refusal)
			}
			got, want := decision.Device, test.device
			if decision.Verdict != test.verdict || decision.Approval != test.approval || got.Group != want.Group || got.ID != want.ID || got.State != want.State ||
				got.Key != want.Key || got.Recoveries != want.Recoveries || got.Rekeyed != want.Rekeyed || !slices.Equal(got.Superseded, want.Superseded) {
				t.Errorf("decided %+v", decision)
			}
			if commits := decision.Verdict != admission.Existing && test.group == nil; commits && decision.Request == "" {
				t.Error("no request is to stand in Git")
			}
		})
	}
}

// Identities of all rules.
func TestIdentity(t *testing.T) {
	uri, _ := url.Parse("urn:dev:mac:0024befffe804ff1")
	leaf := bootstrap("common", func(c *x509.Certificate) {
		c.Subject.SerialNumber, c.DNSNames, c.URIs = "SN4711", []string{"a.example"}, []*url.URL{uri}
	})
	for rule, want := range map[v1alpha1.Identity]string{
		v1alpha1.IdentitySubjectCommonName: "common", v1alpha1.IdentitySubjectSerialNumber: "SN4711", v1alpha1.IdentityDNSName: "a.example",
		v1alpha1.IdentityURI: uri.String(), v1alpha1.IdentityFingerprint: leaf[0].Fingerprint().String(),
	} {
		fleet, _ := newWorld(func(s *v1alpha1.DeviceGroupSpec) { s.Bootstrap.Identity = rule }).Fleet()
		caller, refusal := admission.Identify(fleet, leaf, "", pki.Fingerprint{}, now)
		if refusal != nil || caller.ID != want || caller.Credential != admission.Factory {
			t.Errorf("%s: %q, %v", rule, caller.ID, refusal)
		}
	}
}

// One factory may serve several groups: then the device says which, or is found in one.
func TestGroupsThatShareAFactory(t *testing.T) {
	w := newWorld(nil)
	w.Group("meters", factoryCA, nil)
	w.Group("valves", strangeCA, nil)
	leaf := bootstrap("sensor-1")
	identify := func(label string) (admission.Caller, *admission.Refusal) {
		fleet, _ := w.Fleet()
		return admission.Identify(fleet, leaf, label, pki.Fingerprint{}, now)
	}
	if _, refusal := identify(""); refusal == nil || refusal.Status != 400 || refusal.Problem != admission.ProblemAmbiguous {
		t.Errorf("no label: %v", refusal)
	}
	if caller, refusal := identify("meters"); refusal != nil || caller.Group.Name != "meters" {
		t.Errorf("a label: %q, %v", caller.Group.Name, refusal)
	}
	if _, refusal := identify("valves"); refusal == nil || refusal.Status != 404 {
		t.Errorf("another group's label: %v", refusal)
	}
	w.Put(active("sensor-1", registrartest.Key()))
	if caller, refusal := identify(""); refusal != nil || caller.Group.Name != "sensors" {
		t.Errorf("registered in one: %q, %v", caller.Group.Name, refusal)
	}
}

// A device that a group refuses finds no way in by another that takes the same factory's
// certificates, whatever the id is that it has there.
func TestNoGroupIsAWayRoundAnother(t *testing.T) {
	leaf := bootstrap("sensor-1", func(c *x509.Certificate) { c.Subject.SerialNumber = "SN-1" })
	inMeters := func(state v1alpha1.DeviceState) admission.Device {
		return admission.Device{Group: "meters", ID: "SN-1", State: state}
	}
	inSensors := func(state v1alpha1.DeviceState) admission.Device {
		return with(active("sensor-1", registrartest.Key()), func(d *admission.Device) { d.State = state })
	}
	for title, test := range map[string]struct {
		label   string
		devices []admission.Device
		status  int
		problem admission.Problem
	}{
		"blocked elsewhere":         {"sensors", []admission.Device{inMeters(v1alpha1.DeviceBlocked)}, 403, admission.ProblemBlocked},
		"retired elsewhere":         {"meters", []admission.Device{inSensors(v1alpha1.DeviceRetired)}, 403, admission.ProblemBlocked},
		"registered elsewhere":      {"meters", []admission.Device{inSensors(v1alpha1.DeviceActive)}, 409, admission.ProblemRegisteredElsewhere},
		"in both, blocked in one":   {"meters", []admission.Device{inSensors(v1alpha1.DeviceBlocked), inMeters(v1alpha1.DeviceActive)}, 403, admission.ProblemBlocked},
		"in both":                   {"meters", []admission.Device{inSensors(v1alpha1.DeviceActive), inMeters(v1alpha1.DeviceActive)}, 0, ""},
		"in neither":                {"meters", nil, 0, ""},
		"another in the same group": {"meters", []admission.Device{active("sensor-2", registrartest.Key())}, 0, ""},
		"a strange factory's":       {"meters", []admission.Device{{Group: "valves", ID: "sensor-1", State: v1alpha1.DeviceBlocked}}, 0, ""},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(nil)
			w.Group("meters", factoryCA, func(s *v1alpha1.DeviceGroupSpec) {
				s.Bootstrap.Identity = v1alpha1.IdentitySubjectSerialNumber
			})
			w.Group("valves", strangeCA, nil)
			for _, device := range test.devices {
				w.Put(device)
			}
			fleet, _ := w.Fleet()
			caller, refusal := admission.Identify(fleet, leaf, test.label, pki.Fingerprint{}, now)
			switch {
			case refusal == nil && (test.status != 0 || caller.Group.Name != test.label):
				t.Errorf("is let in as %s/%s", caller.Group.Name, caller.ID)
			case refusal != nil && (refusal.Status != test.status || refusal.Problem != test.problem):
				t.Errorf("got %d %s: %s", refusal.Status, refusal.Problem, refusal)
			}
		})
	}
}

// FuzzParseRequest: a CSR is refused with one line for the device, or read, and is the same when
// it is written in PEM; and granted is only what the group derives, to the letter.
func FuzzParseRequest(f *testing.F) {
	key := registrartest.Key()
	whole := registrartest.CSR(key, "sensor-1", []string{name})
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(registrartest.CSR(edwards, "sensor-1", []string{name}))
	f.Add(registrartest.CSR(key, "sensor-1", []string{name, "www.example"}, func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@b"} }))
	f.Add(registrartest.CSRWith(key, whole, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, []byte{asn1.TagUTF8String, 1, 'x'}))
	f.Add(sha1Request)
	f.Add([]byte{0x30, 0x80})
	fleet, _ := newWorld(nil).Fleet()
	caller, refusal := admission.Identify(fleet, bootstrap("sensor-1"), "", pki.Fingerprint{}, now)
	if refusal != nil {
		f.Fatal(refusal)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		request, refusal := admission.ParseRequest(der)
		if refusal != nil {
			if refusal.Status != 400 || refusal.Detail == "" || strings.Contains(refusal.Detail, "\n") {
				t.Errorf("%x is refused with %d %q", der, refusal.Status, refusal.Detail)
			}
			return
		}
		if again, refusal := admission.ParseRequestPEM([]byte(request.PEM())); refusal != nil || again.Key != request.Key || again.PEM() != request.PEM() {
			t.Errorf("%x is read, and what it is written as is another: %v", der, refusal)
		}
		decision, refusal := admission.Decide(fleet, admission.Ask{Caller: caller, Operation: admission.Enrol, Request: request, Now: now})
		if refusal != nil {
			return
		}
		parsed, err := x509.ParseCertificateRequest(der)
		if err != nil || parsed.CheckSignature() != nil || parsed.Subject.CommonName != "sensor-1" || !slices.Equal(parsed.DNSNames, []string{name}) ||
			len(parsed.IPAddresses)+len(parsed.URIs)+len(parsed.EmailAddresses) > 0 {
			t.Errorf("%s was granted to %x", decision.Verdict, der)
		}
	})
}

func FuzzParseRequestPEM(f *testing.F) {
	whole := registrartest.PEM(registrartest.CSR(registrartest.Key(), "sensor-1", nil))
	f.Add(whole)
	f.Add("x" + whole)
	f.Add(whole + whole)
	f.Fuzz(func(t *testing.T, text string) {
		request, refusal := admission.ParseRequestPEM([]byte(text))
		if refusal != nil {
			return
		}
		again, refusal := admission.ParseRequestPEM([]byte(request.PEM()))
		if refusal != nil || again.Key != request.Key {
			t.Errorf("%q is read, and what it is written as is not", text)
		}
	})
}

func FuzzIdentity(f *testing.F) {
	for _, id := range []string{"sensor-1", "../x", "a\nb", "urn:dev:mac:1", "a: b", "\u202e", " x"} {
		f.Add(id)
	}
	world := newWorld(func(s *v1alpha1.DeviceGroupSpec) { s.Certificate.DNSNames = nil })
	fleet, _ := world.Fleet()
	key := registrartest.Key()
	f.Fuzz(func(t *testing.T, id string) {
		template := registrartest.Leaf("", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0))
		template.RawSubject, _ = asn1.Marshal(pkix.RDNSequence{{{Type: []int{2, 5, 4, 3}, Value: asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(id)}}}})
		der, err := x509.CreateCertificate(rand.Reader, template, factoryCA.X509(), &key.PublicKey, factoryCA.Signer())
		if err != nil {
			return
		}
		leaf, err := pki.Parse(der)
		if err != nil {
			return
		}
		caller, refusal := admission.Identify(fleet, []pki.Certificate{leaf}, "", pki.Fingerprint{}, now)
		if refusal == nil && (caller.ID != id || strings.Contains(id, "..") && strings.Contains(id, "/../") || strings.ContainsAny(id, "\r\n{}") || len(id) > 253 || id == "") {
			t.Errorf("%q was taken for the id %q", id, caller.ID)
		}
	})
}
