package planner_test

import (
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// records lets Git remember keys of fleet-root, in use unless their name begins with
// "retired/".
func (s *site) records(keys map[string]entity) {
	s.observed.Record.Enabled = true
	for name, key := range keys {
		recorded := planner.RecordedKey{Authority: "fleet-root", Name: name, Certificate: key.Certificate}
		if rest, retired := strings.CutPrefix(name, "retired/"); retired {
			recorded.Name, recorded.Retired = rest, true
		}
		s.observed.Record.Keys = append(s.observed.Record.Keys, recorded)
	}
}

// recorded writes what a plan adds to the record.
func recorded(plan planner.Plan) []string {
	var lines []string
	for _, key := range plan.Record {
		lines = append(lines, key.Path()+" "+key.Certificate.CommonName())
	}
	return lines
}

// Every key that came to be is recorded, and nobody hears of a new one before that.
func TestTheRecord(t *testing.T) {
	for name, test := range map[string]struct {
		site      *site
		change    func(*site)
		want      []string // of the first authority: its phase and holds
		record    []string
		anchors   []string
		noNewKeys bool
	}{
		"without a record nothing is recorded": {
			site: introduced(), change: func(*site) {},
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				drop2025, inAnHour,
			},
			anchors: []string{"2025", "2026"},
		},
		"a new key is recorded before anyone hears of it": {
			site: introduced(), change: func(s *site) { s.records(map[string]entity{"2025": key2025}) },
			want: []string{
				"fleet-root 2025 → 2026: Introduce: 2026 is being made",
				"- record: anchors/fleet-root/2026.pem: being recorded in Git", drop2025, inAnHour,
			},
			record: []string{"anchors/fleet-root/2026.pem Fleet Root 2026"}, anchors: []string{"2025"},
		},
		"a repository that cannot be written holds Introduce": {
			site: introduced(), change: func(s *site) {
				s.records(map[string]entity{"2025": key2025})
				s.observed.Record.Problem = "push to main: rejected: protected branch"
			},
			want: []string{
				"fleet-root 2025 → 2026: Introduce: 2026 is being made",
				"- record: anchors/fleet-root/2026.pem: not recorded in Git yet: push to main: rejected: protected branch", drop2025, inAnHour,
			},
			record: []string{"anchors/fleet-root/2026.pem Fleet Root 2026"}, anchors: []string{"2025"},
		},
		"a key that was there before there was a record": {
			site: settled(), change: func(s *site) { s.records(nil) },
			want: []string{
				"fleet-root none → 2025: Introduce: 2025 is being made",
				"- record: anchors/fleet-root/2025.pem: being recorded in Git", inAnHour,
			},
			record: []string{"anchors/fleet-root/2025.pem Fleet Root 2025"}, anchors: []string{"2025"},
		},
		"what is recorded goes on": {
			site: introduced(), change: func(s *site) { s.records(map[string]entity{"2025": key2025, "2026": key2026}) },
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				drop2025, inAnHour,
			},
			anchors: []string{"2025", "2026"},
		},
		"a turn that cannot see everything records nothing": {
			site: introduced(), change: func(s *site) {
				s.records(map[string]entity{"2025": key2025})
				s.observed.Unknown = []planner.Unknown{{Subject: "Pods", Why: "forbidden"}}
			},
			want: []string{
				"fleet-root 2025 → 2026: Introduce: 2026 is being made",
				"- record: anchors/fleet-root/2026.pem: being recorded in Git",
				"hold unknown: Pods: forbidden", drop2025, "blind: nothing is written", inAnHour,
			},
			anchors: []string{"2025"},
		},
		"at the end it is asked whether the Secret is gone": {
			site: released(), change: func(s *site) {
				s.observed.Keys = s.observed.Keys[1:]
				s.records(map[string]entity{"2025": key2025, "2026": key2026})
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: the Certificate of 2025 is gone; it is asked whether its Secret is",
				"- removal: Secret cert-manager/fleet-root-2025: nobody says that it is gone: the internal issuer is made anew to tell", inAnHour,
			},
			anchors: []string{"2026"},
		},
		"then the record says that the key was retired": {
			site: released(), change: func(s *site) {
				s.observed.Keys = s.observed.Keys[1:]
				s.observed.Since = []planner.Gate{{Name: "gone cert-manager/fleet-root 2025", Since: noon}}
				s.records(map[string]entity{"2025": key2025, "2026": key2026})
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: nothing is left of 2025; the record says so next",
				"- record: anchors/fleet-root/2025.pem: moves to anchors/fleet-root/retired/2025.pem in Git", inAnHour,
			},
			record: []string{"anchors/fleet-root/retired/2025.pem Fleet Root 2025"}, anchors: []string{"2026"},
		},
		"not while a copy holds it": {
			site: drained(), change: func(s *site) {
				s.observed.Keys = s.observed.Keys[1:]
				s.records(map[string]entity{"2025": key2025, "2026": key2026})
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)", inAnHour,
			},
			anchors: []string{"2026"},
		},
		"a retired name is refused": {
			site: settled(), change: func(s *site) {
				s.commit("2025 Retired", "2026 Signing")
				s.records(map[string]entity{"2025": key2025, "retired/2026": key2026})
			},
			want: []string{
				"fleet-root 2025 → 2026: Introduce: 2026 is being made",
				"- name: Certificate cert-manager/fleet-root-2026: 2026 was retired, as anchors/fleet-root/retired/2026.pem says: a key's name is used once; declare a key of another name",
				drop2025, inAnHour,
			},
			anchors: []string{"2025"}, noNewKeys: true,
		},
		"an empty cluster of which Git records a key": {
			site: empty(), change: func(s *site) { s.records(map[string]entity{"2025": key2025}) },
			want: []string{
				"fleet-root none → 2025: Introduce: 2025 is being made",
				"- record: Certificate cert-manager/fleet-root-2025: Git records Fleet Root 2025 with fingerprint ##2025, and the cluster has no such key: nothing is issued under its name; restore the Secret cert-manager/fleet-root-2025, or declare a new key and retire this one",
			},
			noNewKeys: true,
		},
		"an empty cluster whose bundle was restored": {
			site: empty(), change: func(s *site) { s.distribute(key2025) },
			want: []string{
				"fleet-root none → 2025: Introduce: 2025 is being made",
				"- record: Certificate cert-manager/fleet-root-2025: the cluster still trusts Fleet Root 2025 with fingerprint ##2025, and the cluster has no such key: nothing is issued under its name; restore the Secret cert-manager/fleet-root-2025, or declare a new key and retire this one",
			},
			anchors: []string{"2025"}, noNewKeys: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.change(test.site)
			plan := test.site.next()
			same(t, "the plan says", tell(plan, test.site.now), test.want)
			same(t, "the record shall newly say", recorded(plan), test.record)
			var anchors []string
			for _, bundle := range plan.Target.Bundles {
				anchors = namesOf(bundle.Anchors)
			}
			same(t, "the bundle shall hold", anchors, test.anchors)
			for _, key := range plan.Target.Keys {
				stands := slices.ContainsFunc(test.site.observed.Keys, func(k planner.Key) bool { return k.Name == key.Name && k.HasCertificate })
				if test.noNewKeys && key.Certificate && !stands {
					t.Errorf("%s is made", key.Name)
				}
			}
		})
	}
}

// A key whose request is gone is recognised by a canary that what is remembered of it
// signed; a canary that something else signed shows that it is not it.
func TestAKeyIsRecognised(t *testing.T) {
	lost := func(s *site) {
		s.key("2025").Certificate, s.key("2025").Problem = pki.Certificate{}, "the CertificateRequest of revision 1 is gone"
	}
	for name, record := range map[string]bool{"by the record": true, "by the bundle": false} {
		t.Run(name, func(t *testing.T) {
			s := settled()
			lost(s)
			if record {
				s.records(map[string]entity{"2025": key2025})
			}
			same(t, "the plan says", tell(s.next(), s.now), []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", inAnHour})

			s.issuer().Canary = planner.Canary{}
			want := "do Prove fleet: it is not proved that ClusterIssuer fleet signs with 2025"
			if told := tell(s.next(), s.now); told[len(told)-1] != want {
				t.Errorf("without a canary the plan says %q, want %q", told, want)
			}

			s.pointTo("2025", key2025)
			s.issuer().Generation++
			if plan := s.next(); plan.Rollovers[0].Phase != planner.Introduce {
				t.Errorf("a canary of another generation makes it %q", tell(plan, s.now))
			}

			s.pointTo("2025", stranger)
			plan := s.next()
			if plan.Rollovers[0].Phase != planner.Introduce || plan.Rollovers[0].Holds[0].Gate != "issue" || len(plan.Target.Bundles[0].Anchors) != 1 {
				t.Errorf("a strange canary makes it %q", tell(plan, s.now))
			}
		})
	}
	t.Run("it took over its Secret", func(t *testing.T) {
		s := settled()
		lost(s)
		s.key("2025").Issued, s.key("2025").Adopted = false, true
		s.records(map[string]entity{"2025": key2025})
		same(t, "the plan says", tell(s.next(), s.now), []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", inAnHour})

		s.issuer().Canary = planner.Canary{}
		if actions := s.next().Actions; len(actions) != 1 || actions[0].Kind != planner.ActionProve {
			t.Errorf("before a canary has come back, the plan does %v", actions)
		}
	})
	t.Run("its Certificate is gone and its Secret is what it was", func(t *testing.T) {
		s := settled()
		s.records(map[string]entity{"2025": key2025})
		s.key("2025").HasCertificate, s.key("2025").Certificate = false, pki.Certificate{}
		plan := s.next()
		if len(plan.Target.Keys) != 1 || !plan.Target.Keys[0].Certificate {
			t.Errorf("its Certificate is not made anew: %q", targets(plan))
		}
		s.issuer().Canary.Certificate = newLeaf("canary of a stranger", stranger).Certificate
		if plan := s.next(); plan.Target.Keys[0].Certificate {
			t.Errorf("its Certificate is made over a strange Secret: %q", targets(plan))
		}
	})
}

// A key that changed without a plan is held, with an alarm, and the bundle grows; one
// that was renewed with the same key is held without.
func TestAKeyThatChanged(t *testing.T) {
	renewed := newRoot("2025", "Fleet Root 2025", lives(noon.Add(-time.Hour), noon.Add(80000*time.Hour)))
	label(key2025.Certificate, "2025")
	label(renewed.Certificate, "renewed")
	rekeyed := newRoot("rekeyed", "Fleet Root 2025")
	posing := newRoot("posing", "Fleet Root 2025", func(template *x509.Certificate) { template.SubjectKeyId = key2025.SubjectKeyID() })
	for name, test := range map[string]struct {
		to      entity
		record  bool
		alarm   bool
		anchors []string
	}{
		"another key, and a record":     {to: rekeyed, record: true, alarm: true, anchors: []string{"2025", "rekeyed"}},
		"another key, and no record":    {to: rekeyed, alarm: true, anchors: []string{"2025", "rekeyed"}},
		"another key that poses as it":  {to: posing, record: true, alarm: true, anchors: []string{"2025", "posing"}},
		"the same key, and a record":    {to: renewed, record: true, anchors: []string{"2025", "renewed"}},
		"the same key, and no record":   {to: renewed, anchors: []string{"2025", "renewed"}},
		"the very certificate it was":   {to: key2025, record: true, anchors: []string{"2025"}},
		"the very certificate, no note": {to: key2025, anchors: []string{"2025"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := settled()
			if test.record {
				s.records(map[string]entity{"2025": key2025})
			}
			s.has("2025", test.to)
			s.pointTo("2025", test.to)
			plan := s.next()
			var alarms, holds int
			for _, hold := range plan.Rollovers[0].Holds {
				if hold.Gate == "key" {
					holds++
				}
				if hold.Alarm {
					alarms++
				}
			}
			changed := test.to.Fingerprint() != key2025.Fingerprint()
			if (holds == 1) != changed || (alarms == 1) != test.alarm || len(plan.Record) > 0 || len(plan.Actions) > 0 {
				t.Errorf("the plan says %q, records %v", tell(plan, s.now), recorded(plan))
			}
			same(t, "the bundle shall hold", namesOf(plan.Target.Bundles[0].Anchors), test.anchors)
		})
	}
	t.Run("a root that signs intermediates alone", func(t *testing.T) {
		s := chained()
		s.observed.Leaves = nil
		s.has("2025", rekeyed)
		same(t, "the bundle shall hold", namesOf(s.next().Target.Bundles[0].Anchors), []string{"2025", "rekeyed"})
	})
	t.Run("an intermediate, of which its root knows", func(t *testing.T) {
		s := chained()
		again := newIntermediate("a.2025", key2025, func(template *x509.Certificate) { template.SerialNumber = big.NewInt(7) })
		other := sign("a rekeyed", again.X509(), &key2025)
		for i := range s.observed.Keys {
			if s.observed.Keys[i].Name == "a.2025" {
				s.observed.Keys[i].Certificate = other.Certificate
			}
		}
		s.pointToPair("a.2025", other)
		plan := s.next()
		if hold := plan.Rollovers[0].Holds[0]; hold.Gate != "key" || hold.Alarm || len(plan.Actions) > 0 {
			t.Errorf("the plan says %q", tell(plan, s.now))
		}
	})
	t.Run("a new key is the way out, and all that the old one was goes", func(t *testing.T) {
		s := drained()
		s.has("2025", rekeyed)
		s.records(map[string]entity{"2025": key2025, "2026": key2026})
		s.distribute(key2025, key2026, rekeyed)
		s.reload()
		plan := s.next()
		same(t, "the bundle shall hold", namesOf(plan.Target.Bundles[0].Anchors), []string{"2026"})
		if len(plan.Holds) != 1 || !plan.Holds[0].Alarm {
			t.Errorf("the plan holds %v, want the alarm", plan.Holds)
		}
	})
}

// An issuer that was drained late: what is left of the old key's life must suffice for
// the new one to take over, or a person decides.
func TestTooLateForARollover(t *testing.T) {
	for name, test := range map[string]struct {
		left time.Duration
		held bool
		with func(*site)
	}{
		"a window of two hours is still to come": {left: 10*time.Hour + time.Minute, with: within(nightly)},
		"the last is open for long enough":       {left: 8*time.Hour + 16*time.Minute, with: within(nightly)},
		"it closes before the soak is over":      {left: 8*time.Hour + 14*time.Minute, with: within(nightly), held: true},
		"it has closed":                          {left: 8*time.Hour - time.Minute, with: within(nightly), held: true},
		"ten windows a month, and all to come":   {left: 27 * 24 * time.Hour, with: within(monthly)},
		"ten windows a month, and one to come":   {left: 18 * 24 * time.Hour, with: within(monthly)},
		"ten windows a month, and none to come":  {left: 16 * 24 * time.Hour, with: within(monthly), held: true},
		"windows that never close":               {left: 16 * time.Minute, with: within(v1alpha1.Window{Cron: "* * * * *", Duration: metav1.Duration{Duration: time.Hour}})},
		"a silent device may wait so long":       {left: 49 * time.Hour, with: devicesWait(48 * time.Hour)},
		"a silent device may wait longer":        {left: 47 * time.Hour, with: devicesWait(48 * time.Hour), held: true},
		"devices that are not waited for": {left: time.Hour, with: func(s *site) {
			devicesWait(48 * time.Hour)(s)
			s.desired.Authorities[0].Spec.Rollover.Confirm = v1alpha1.ConfirmWorkloads
		}},
		"a quarter of an hour and a second": {left: 15*time.Minute + time.Second},
		"less than skew and soak":           {left: 15*time.Minute - time.Second, held: true},
		"it is over":                        {left: -time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := settled()
			s.now = key2025.NotAfter().Add(-test.left)
			s.commit("2025 Retired", "2026 Signing")
			if test.with != nil {
				test.with(s)
			}
			held := s.next().Rollovers[0].Holds[0]
			if (held.Gate == "lifetime") != test.held {
				t.Errorf("Introduce is held by %s", held)
			}
		})
	}
}

// nightly is open from two to four.
var nightly = v1alpha1.Window{Cron: "0 2 * * *", Duration: metav1.Duration{Duration: 2 * time.Hour}}

// monthly is open on the first ten nights of a month; the root of the tests ends on the 27th
// of February.
var monthly = v1alpha1.Window{Cron: "0 2 1-10 * *", Duration: metav1.Duration{Duration: 4 * time.Hour}}

// TestItIsTooLateWhenTheLastWindowHasClosed: a plan says when it will be too late for a key, to
// the second, whichever windows come between; until then it says nothing of it.
func TestItIsTooLateWhenTheLastWindowHasClosed(t *testing.T) {
	s := settled()
	within(monthly)(s)
	s.leaf().Chain = nil
	last := time.Date(2036, time.February, 10, 5, 44, 59, 0, time.UTC) // skew and soak fit in before six
	for s.now = last.AddDate(0, -3, 0); s.now.Before(last); {
		s.issuer().Canary.At = s.now
		plan := s.next()
		if hold, is := holdOf(plan, "lifetime"); is {
			t.Fatalf("at %s: %s", s.now, hold)
		}
		if s.now = plan.LookAgain; s.now.After(last) {
			t.Fatalf("the plan is looked at again at %s, want %s at the latest", s.now, last)
		}
	}
	s.now = last.Add(time.Hour)
	hold, is := holdOf(s.next(), "lifetime")
	if want := "a new key needs until 2036-03-01T02:10:00Z to take over"; !is || !strings.Contains(hold.Why, want) {
		t.Errorf("got %q, want %q", hold, want)
	}
	said := hold.Why
	s.now = s.now.Add(24 * time.Hour)
	if hold, _ := holdOf(s.next(), "lifetime"); hold.Why != said {
		t.Errorf("a day later it reads otherwise: %s", hold.Why)
	}
}

// devicesWait has a group of devices, whose silence may hold a rollover up.
func devicesWait(offline time.Duration) func(*site) {
	return func(s *site) {
		s.desired.Authorities[0].Spec.Rollover.Confirm = v1alpha1.ConfirmDevices
		s.desired.Authorities[0].Spec.Rollover.WaitForOffline = &metav1.Duration{Duration: offline}
		s.desired.Groups = []v1alpha1.DeviceGroup{{
			Metadata: v1alpha1.Metadata{Name: "sensors"},
			Spec:     v1alpha1.DeviceGroupSpec{Issuer: v1alpha1.IssuerReference{Name: "fleet", Kind: v1alpha1.KindClusterIssuer}},
		}}
	}
}

// An issuer is taken away before its CA ends: cert-manager would sign past that.
func TestIssuersEndBeforeTheirCA(t *testing.T) {
	for name, test := range map[string]struct {
		left time.Duration
		stay bool
	}{
		"in time":           {left: 5*time.Minute + time.Second, stay: true},
		"within its skew":   {left: 5 * time.Minute},
		"when it has ended": {left: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := settled()
			s.now = key2025.NotAfter().Add(-test.left)
			plan := s.next()
			if stays := len(plan.Target.Issuers) == 1; stays != test.stay || plan.Decisive == test.stay {
				t.Errorf("the issuer stays: %v; decisive: %v", stays, plan.Decisive)
			}
			last := plan.Holds[len(plan.Holds)-1]
			if last.Gate != "lifetime" || last.Alarm == test.stay {
				t.Errorf("the plan holds %v", plan.Holds)
			}
		})
	}
}

// A leaf that ends after its CA is named: nothing that cert-manager signs is cut.
func TestALeafThatOutlivesItsCA(t *testing.T) {
	s := settled()
	late := newLeaf("late", key2025, lives(noon.Add(-time.Hour), key2025.NotAfter().Add(time.Second)))
	s.leaf().Chain = []pki.Certificate{late.Certificate}
	plan := s.next()
	want := "lifetime: Certificate plant/broker: it ends at 2036-02-27T12:00:01Z, after Fleet Root 2025 (#2025), which signed it, does at 2036-02-27T12:00:00Z: from then on everyone refuses it; give it a shorter duration, or fleet-root a new key"
	if told := named([]string{plan.Holds[len(plan.Holds)-1].String()})[0]; told != want {
		t.Errorf("the plan holds %s\nwant %s", told, want)
	}
}

// A workload that seems to verify with the ca.crt of its leaf's Secret is named before
// Switch, and nothing moves until it does not or its owner says that it does not.
func TestOwnCA(t *testing.T) {
	trusts := func(own planner.OwnCA, change ...func(*planner.Workload)) func(*site) {
		return func(s *site) {
			s.broker().Secrets[0].OwnCA = own
			for _, edit := range change {
				edit(s.broker())
			}
			s.reload()
		}
	}
	unbundled := func(w *planner.Workload) { w.Bundles = nil }
	waived := func(w *planner.Workload) { w.OwnCAUnused = true }
	const remedy = "when that leaf is reissued it becomes the new root alone: mount the bundle and verify with that, or annotate the workload reanchor.dev/own-ca: Unused"
	nameIt := "- own-ca: Deployment plant/broker: its pod template names the ca.crt of the Secret broker-tls; " + remedy
	seesIt := "- own-ca: Deployment plant/broker: it mounts the Secret broker-tls with its ca.crt and no bundle that holds fleet-root; " + remedy + ", or mount tls.crt and tls.key alone"
	for name, test := range map[string]struct {
		site   *site
		change func(*site)
		want   string // the last hold; empty: none of this kind
	}{
		"it names it":                               {distributed(), trusts(planner.OwnCANamed), nameIt},
		"it names it, the soak is over":             {soaked(), trusts(planner.OwnCANamed), nameIt},
		"it names it, copies are missing":           {introduced(), trusts(planner.OwnCANamed), nameIt},
		"it names it, and its owner says otherwise": {distributed(), trusts(planner.OwnCANamed, waived), ""},
		"it mounts it beside a bundle":              {distributed(), trusts(planner.OwnCAVisible), ""},
		"it mounts it and no bundle":                {distributed(), trusts(planner.OwnCAVisible, unbundled), seesIt},
		"it mounts it, no bundle, and is waived":    {distributed(), trusts(planner.OwnCAVisible, unbundled, waived), ""},
		"it does not get it, and no bundle":         {distributed(), trusts(planner.OwnCAHidden, unbundled), ""},
		"nothing rolls":                             {settled(), trusts(planner.OwnCANamed), ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.change(test.site)
			plan := test.site.next()
			var told []string
			for _, hold := range plan.Rollovers[0].Holds {
				if hold.Gate == "own-ca" {
					told = append(told, "- "+hold.String())
				}
			}
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			same(t, "the plan says", told, want)
			if moved := plan.Target.Issuers[0].Key == "2026"; moved {
				t.Error("the issuer moves")
			}
		})
	}
	t.Run("an intermediate's leaf, whose root rolls", func(t *testing.T) {
		s := rolledRoot()
		s.broker().Secrets[0].OwnCA = planner.OwnCANamed
		told := tell(s.next(), s.now)
		if told[2] != "fleet-root 2025 → 2026: Distribute: 2 of 2 copies hold 2026" || told[3] != nameIt {
			t.Errorf("the plan says %q", told)
		}
	})
}

// A private key is not left behind: the internal issuer, which tells when the Secret is
// gone, comes back before the Certificate goes.
func TestAKeyWithoutItsInternalIssuer(t *testing.T) {
	s := released()
	s.key("2025").HasIssuer = false
	plan := s.next()
	if key := plan.Target.Keys[0]; key.Name != "2025" || !key.Certificate || !key.Issuer {
		t.Errorf("the cluster shall hold %q", targets(plan))
	}
	if progress := plan.Rollovers[0].Progress; progress != "no copy holds 2025; its internal issuer is made anew" {
		t.Errorf("the progress is %q", progress)
	}
}

// An issuer that keeps signing with another key of the authority than the one that it
// names is an alarm, once a cache does not explain it.
func TestAnIssuerThatStaysAstray(t *testing.T) {
	s := switched()
	s.issuer().Canary.Certificate = newLeaf("canary astray of 2025", key2025).Certificate
	s.issuer().Proof = s.issuer().Canary
	if _, alarmed := holdOf(s.next(), "key"); alarmed {
		t.Error("an alarm at once")
	}
	s.rest(time.Minute)
	if hold, alarmed := holdOf(s.next(), "key"); !alarmed || !hold.Alarm {
		t.Errorf("no alarm a minute later: %q", tell(s.next(), s.now))
	}
}

// What stands in for a signing key that is not ready is a key that is in use: one that is
// only trusted by the copies need not be loaded by anyone.
func TestNobodyStandsInWhomNobodyLoaded(t *testing.T) {
	s := chained()
	s.commitTo(1, "2025 Trusted", "2026 Signing")
	s.has("2026", key2026)
	s.desired.Bindings = append(s.desired.Bindings, binding("root", "fleet-root"))
	s.observed.Leaves = nil
	if plan := s.next(); slices.ContainsFunc(plan.Target.Issuers, func(i planner.TargetIssuer) bool { return i.Ref.Name == "root" }) {
		t.Errorf("the cluster shall hold %q", targets(plan))
	}
}
