package planner_test

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// older is what 2025 was before the others were made.
var older = newRoot("older", "Fleet Root 2025", lives(noon.Add(-8760*time.Hour), noon.Add(43800*time.Hour)))

// linked is a root as another one has signed it.
func linked(to, by entity, change ...func(*x509.Certificate)) pki.Certificate {
	template := *to.X509()
	template.AuthorityKeyId, template.NotAfter = nil, by.NotAfter().Add(-time.Hour)
	for _, edit := range change {
		edit(&template)
	}
	der, err := x509.CreateCertificate(nil, &template, by.X509(), to.X509().PublicKey, by.private)
	if err != nil {
		panic(err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		panic(err)
	}
	return certificate
}

// linking is a site in which 2026 is distributed and 2025 goes, and both are on record.
func linking() *site {
	s := settled()
	s.has("2025", older)
	s.pointTo("2025", older)
	s.leaf().Chain = []pki.Certificate{newLeaf("broker of older", older).Certificate}
	s.commit("2025 Retired", "2026 Signing")
	s.has("2026", key2026).Requested = true
	s.distribute(older, key2026)
	s.records(map[string]entity{"2025": older, "2026": key2026})
	return s
}

// drainedOf2025 is the same when nobody needs 2025 any more.
func drainedOf2025() *site {
	s := linking()
	s.rest(11 * time.Minute)
	s.reload()
	s.pointTo("2026", key2026)
	s.leaf().Chain = []pki.Certificate{newLeaf("broker under 2026", key2026).Certificate}
	s.reload()
	return s
}

func (s *site) asked(state planner.CanaryState, certificate pki.Certificate) {
	s.observed.Links = []planner.LinkRequest{{
		Authority: fleetRoot, Key: "2026", Under: "2025", Name: "link-1", At: s.now.Add(-time.Minute), State: state, Certificate: certificate, Problem: "",
	}}
}

// ofLinks is all that a plan says of them.
func ofLinks(plan planner.Plan) []string {
	var lines []string
	for _, link := range plan.Links {
		lines = append(lines, strings.TrimPrefix(link.String(), "link of cert-manager/fleet-root "))
	}
	for _, action := range plan.Actions {
		if action.Kind == planner.ActionLink {
			lines = append(lines, "link "+action.Subject.Name+" by "+action.Issuer.Name+" until "+action.Until.Format(time.RFC3339))
		}
		if action.Kind == planner.ActionUnlink {
			lines = append(lines, "unlink "+action.Subject.Name)
		}
	}
	for _, link := range plan.LinkRecord {
		lines = append(lines, "record "+link.Path())
	}
	for _, hold := range plan.Holds {
		lines = append(lines, "beside: "+hold.Gate)
	}
	for _, hold := range plan.Rollovers[0].Holds {
		if hold.Gate == "link" {
			lines = append(lines, string(plan.Rollovers[0].Phase)+" waits for "+hold.Subject)
		}
	}
	return named(lines)
}

const (
	asks    = "link fleet-root-2026 by fleet-root-2025 until 2031-02-28T11:55:00Z"
	pending = "2026 under 2025: Pending: "
	waits   = "Retire waits for anchors/fleet-root/links/2026.2025.pem"
)

// TestTheLink: it is asked for once, proved by what came back, recorded, and waited for by
// Retire alone.
func TestTheLink(t *testing.T) {
	good := linked(key2026, older)
	long := linked(key2026, older, func(template *x509.Certificate) { template.NotAfter = older.NotAfter().Add(time.Second) })
	failed := func(s *site) {
		s.asked(planner.CanaryFailed, pki.Certificate{})
		s.observed.Links[0].Problem = "the CSR is bad"
	}
	const badly = "2026 under 2025: Failed: CertificateRequest link-1 failed: the CSR is bad; asked for again at "
	for name, test := range map[string]struct {
		site   *site
		change func(*site)
		want   []string
	}{
		"once the new key is introduced": {linking(), func(*site) {}, []string{pending + "2025 is to sign the key of 2026, for devices that know 2025 alone", asks}},
		"not while it is being introduced": {linking(), func(s *site) {
			s.key("2026").Certificate = pki.Certificate{}
		}, nil},
		"not without a record":       {linking(), func(s *site) { s.observed.Record = planner.Record{} }, nil},
		"not in a pause":             {linking(), func(s *site) { s.desired.Authorities[0].Spec.Rollover.Paused = true }, nil},
		"not before 2025 is Trusted": {linking(), func(s *site) { s.commit("2025 Signing", "2026 Trusted") }, nil},
		"while 2025 is kept":         {linking(), func(s *site) { s.commit("2025 Trusted", "2026 Signing") }, []string{pending + "2025 is to sign the key of 2026, for devices that know 2025 alone", asks}},
		"not the other way round":    {linking(), func(s *site) { s.commit("2025 Signing", "2026 Retired"); s.key("2025").Requested = true }, nil},
		"not under a key that is nobody's anchor": {linking(), func(s *site) {
			s.distribute(key2026)
		}, nil},
		"asked for": {linking(), func(s *site) { s.asked(planner.CanaryPending, pki.Certificate{}) }, []string{pending + "CertificateRequest link-1 has not come back"}},
		"come back": {linking(), func(s *site) { s.asked(planner.CanarySigned, good) }, []string{pending + "being recorded in Git", "record anchors/fleet-root/links/2026.2025.pem"}},
		"recorded": {linking(), func(s *site) {
			s.asked(planner.CanarySigned, good)
			s.observed.Record.Links = []planner.RecordedLink{{Authority: "fleet-root", Key: "2026", Under: "2025", Certificate: good}}
		}, []string{"2026 under 2025: Recorded", "unlink link-1"}},
		"refused": {linking(), failed, []string{badly + "2026-03-01T12:09:00Z; to do without it, write spec.rollover.links: None", "beside: link"}},
		"refused long ago": {linking(), func(s *site) {
			failed(s)
			s.observed.Links[0].At = noon.Add(-time.Hour)
		}, []string{badly + "2026-03-01T11:10:00Z; to do without it, write spec.rollover.links: None", asks, "beside: link"}},
		"it would outlive 2025": {linking(), func(s *site) { s.asked(planner.CanarySigned, long) }, []string{
			"2026 under 2025: Failed: what came back ends at 2031-02-28T12:00:01Z, after 2025 does; asked for again at 2026-03-01T12:09:00Z; to do without it, write spec.rollover.links: None", "beside: link",
		}},
		"Retire waits for it":                   {drainedOf2025(), func(*site) {}, []string{pending + "2025 is to sign the key of 2026, for devices that know 2025 alone", asks, waits}},
		"Retire waits until it is on record":    {drainedOf2025(), func(s *site) { s.asked(planner.CanarySigned, good); s.observed.Record.Problem = "no push" }, []string{pending + "not recorded in Git yet: no push", "record anchors/fleet-root/links/2026.2025.pem", waits}},
		"Retire waits for one that was refused": {drainedOf2025(), failed, []string{badly + "2026-03-01T12:20:00Z; to do without it, write spec.rollover.links: None", waits}},
		"left over":                             {settled(), func(s *site) { s.asked(planner.CanarySigned, good) }, []string{"unlink link-1"}},
		"what is unknown stops it": {linking(), func(s *site) {
			s.asked(planner.CanarySigned, good)
			s.observed.Unknown = []planner.Unknown{{Subject: "Pods", Why: "forbidden"}}
		}, []string{pending + "being recorded in Git", "beside: unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.change(test.site)
			same(t, "of links the plan says", ofLinks(test.site.next()), test.want)
		})
	}
}

// TestNoLink: where none can be made the plan says why, and Retire goes on.
func TestNoLink(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*site)
		why    string
	}{
		"Git wants none": {func(s *site) { s.desired.Authorities[0].Spec.Rollover.Links = v1alpha1.LinksNone }, "spec.rollover.links is None"},
		"the keys share a subject": {func(s *site) {
			twin := newRoot("twin", "Fleet Root 2025")
			s.has("2026", twin).Requested = true
			s.pointTo("2026", twin)
			s.leaf().Chain = []pki.Certificate{newLeaf("broker under twin", twin).Certificate}
			s.observed.Record.Keys = nil
			s.records(map[string]entity{"2025": older, "2026": twin})
			s.distribute(older, twin)
			s.reload()
		}, "both keys have one subject"},
		"the request is gone":       {func(s *site) { s.key("2026").Requested = false }, "the CertificateRequest that 2026 was issued for is gone"},
		"the Secret is gone":        {func(s *site) { s.key("2025").SecretGone = true }, "nothing here can sign with 2025 any more"},
		"the internal issuer is":    {func(s *site) { s.key("2025").HasIssuer = false }, "nothing here can sign with 2025 any more"},
		"it came back from another": {func(s *site) { s.asked(planner.CanarySigned, linked(key2026, newRoot("other", "Fleet Root 2025"))) }, "CertificateRequest link-1 came back with Fleet Root 2026"},
		"it came back of another":   {func(s *site) { s.asked(planner.CanarySigned, linked(newRoot("other", "Fleet Root 2026"), older)) }, "CertificateRequest link-1 came back with Fleet Root 2026"},
		"it was withdrawn": {func(s *site) {
			s.observed.Record.Links = []planner.RecordedLink{{Authority: "fleet-root", Key: "2026", Under: "2025", Certificate: linked(key2026, older), Withdrawn: true}}
		}, "one of its keys was compromised"},
		"the old root is offline": {func(s *site) {
			s.give("2025", older, func(*v1alpha1.AuthorityKey) {})
			s.observed.Keys = slices.DeleteFunc(s.observed.Keys, func(k planner.Key) bool { return k.Name == "2025" })
		}, "2025 signs nothing here, being offline"},
		"the old root ends too soon": {func(s *site) {
			s.now = older.NotAfter().Add(-time.Hour)
			s.leaf().Chain = nil
			s.issuer().Canary.At = s.now
		}, "2025 ends at 2031-02-28T12:00:00Z, too soon for one"},
	} {
		t.Run(name, func(t *testing.T) {
			s := drainedOf2025()
			test.change(s)
			plan := s.next()
			if len(plan.Links) != 1 || !slices.Contains([]planner.LinkState{planner.LinkNone, planner.LinkWithdrawn}, plan.Links[0].State) || !strings.HasPrefix(plan.Links[0].Why, test.why) {
				t.Errorf("of the link the plan says %v, want none: %s", plan.Links, test.why)
			}
			if hold, held := holdOf(plan, "link"); held {
				t.Errorf("the plan waits for %s", hold)
			}
			if slices.ContainsFunc(plan.Actions, func(a planner.Action) bool { return a.Kind == planner.ActionLink }) || len(plan.LinkRecord) > 0 {
				t.Errorf("the plan does %v and records %v", plan.Actions, plan.LinkRecord)
			}
		})
	}
}

// A link of a compromised key is taken out of use, whichever of its two keys that is.
func TestLinksAreWithdrawn(t *testing.T) {
	for _, stolen := range []string{"2025", "2026"} {
		s := settled()
		s.commit("2025 Retired", "2026 Retired", "2027 Signing")
		for i, key := range s.desired.Authorities[0].Spec.Keys {
			if key.Name == stolen {
				s.desired.Authorities[0].Spec.Keys[i].State = v1alpha1.KeyCompromised
			}
		}
		s.records(map[string]entity{"retired/2025": older, "2026": key2026})
		recorded := planner.RecordedLink{Authority: "fleet-root", Key: "2026", Under: "2025", Certificate: linked(key2026, older)}
		s.observed.Record.Links = []planner.RecordedLink{recorded}
		if bridges := s.observed.Record.LinksTo(older.Certificate, noon); len(bridges) != 1 {
			t.Fatalf("before, there are the bridges %v", bridges)
		}
		plan := s.next()
		if len(plan.LinkRecord) != 1 || plan.LinkRecord[0].Path() != "anchors/fleet-root/links/withdrawn/2026.2025.pem" ||
			!bytes.Equal(plan.LinkRecord[0].Certificate.PEM(), recorded.Certificate.PEM()) {
			t.Fatalf("%s is compromised, and the plan records %v", stolen, plan.LinkRecord)
		}
		if want := "link of cert-manager/fleet-root 2026 under 2025: Withdrawn: " + stolen + " is compromised"; len(plan.Links) != 1 || plan.Links[0].String() != want {
			t.Errorf("the plan says %v, want %s", plan.Links, want)
		}
		s.observed.Record.Links = plan.LinkRecord
		if again := s.next(); len(again.LinkRecord) > 0 || len(s.observed.Record.LinksTo(older.Certificate, noon)) > 0 {
			t.Errorf("the withdrawn link is recorded as %v again, or presented", again.LinkRecord)
		}
	}
}
