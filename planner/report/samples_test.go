package report_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/simulation"
)

var epoch = time.Date(2026, 1, 2, 6, 0, 0, 0, time.UTC)

var root = planner.Ref{Namespace: "cert-manager", Name: "fleet-root"}

// digest is a digest that shows what it is of.
func digest(first string) string { return "sha256:" + (first + strings.Repeat("0", 64))[:64] }

// comparing is what every sample has: a base, a head and a folder.
func comparing(verdict forecast.Verdict, summary string) forecast.Forecast {
	return forecast.Forecast{
		Folder: "sites/plant", Verdict: verdict, Summary: summary, Digest: digest("9f"),
		Base: forecast.Revision{Name: "main", Commit: "sha1:3f1c2a9b04d5e6f708192a3b4c5d6e7f80910111", Digest: digest("ba5e")},
		Head: forecast.Revision{Name: "roll-2026", Commit: "sha1:9ab4c11d5e6f708192a3b4c5d6e7f8091011121", Digest: digest("4ead")},
	}
}

func live(f forecast.Forecast) forecast.Forecast {
	f.Live = forecast.Live{At: epoch, Digest: digest("11fe")}
	return f
}

func anchor(key, subject string, first byte, year int) forecast.Anchor {
	return forecast.Anchor{
		Key: key, Subject: subject, Fingerprint: pki.Fingerprint{first, 0xc0, 0xff, 0xee},
		NotBefore: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(year+10, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

var (
	root2025 = anchor("fleet-root/2025", "CN=Fleet Root 2025,O=Example", 0x25, 2025)
	root2026 = forecast.Anchor{Key: "fleet-root/2026", Subject: "CN=Fleet Root 2026,O=Example", KnownAfter: planner.Introduce}
)

// rollOf an authority from 2025 to 2026, beginning at a number.
func rollOf(authority planner.Ref, first int) []forecast.Stage {
	object := func(kind, key string) string { return kind + " " + authority.String() + "-" + key }
	stages := []forecast.Stage{
		{
			Phase: planner.Introduce, Title: "Make key 2026 of " + authority.Name,
			Changes: []forecast.Change{{Verb: simulation.Made, Object: object("Certificate", "2026")}, {Verb: simulation.Made, Object: object("Issuer", "2026")}},
			Gate:    []string{"2026 is issued and recorded in Git", "its notBefore is 5m past"},
			Undo:    "revert the commit: nobody trusts 2026 yet, and it is removed", Takes: 5 * time.Minute,
		},
		{
			Phase: planner.Distribute, Title: "Add the anchor of 2026 to the bundles",
			Changes: []forecast.Change{
				{Verb: simulation.Changed, Object: "Bundle fleet-trust", What: "+ Fleet Root 2026"},
				{Verb: simulation.Restarted, Object: "Deployment plant/broker"},
				{Verb: simulation.Restarted, Object: "Deployment plant/press"},
			},
			Gate:  []string{"2 of 2 copies hold 2026", "3 of 3 verifiers have reloaded", "soak of 10m"},
			Blast: forecast.Blast{Workloads: 3, Namespaces: 2, Names: []string{"Deployment plant/broker", "Deployment plant/press", "Deployment office/historian"}},
			Undo:  "revert the commit: bundles go back to 2025 alone", Takes: 10 * time.Minute,
		},
		{
			Phase: planner.Switch, Title: "Let issuers sign with 2026",
			Changes: []forecast.Change{{Verb: simulation.Changed, Object: "ClusterIssuer fleet", What: "secretName fleet-root-2026"}, {Verb: simulation.Proved, Object: "ClusterIssuer fleet"}},
			Gate:    []string{"a canary comes back signed by 2026"},
			Undo:    "revert the commit: issuers go back to 2025",
		},
		{
			Phase: planner.Reissue, Title: "Issue the leaves of 2025 anew",
			Changes: []forecast.Change{
				{Verb: simulation.Reissued, Object: "Certificate plant/broker"},
				{Verb: simulation.Reissued, Object: "Certificate plant/press"},
				{Verb: simulation.Reissued, Object: "Certificate office/historian"},
				{Verb: simulation.Restarted, Object: "Deployment plant/broker"},
			},
			Gate:  []string{"3 of 3 leaves chain to 2026", "3 of 3 presenters have reloaded"},
			Blast: forecast.Blast{Leaves: 3, Workloads: 3, Namespaces: 2, Names: []string{"Certificate plant/broker", "Certificate plant/press", "Certificate office/historian"}},
			Undo:  "revert the commit: the leaves are issued anew by 2025, which every verifier trusts",
		},
		{
			Phase: planner.Retire, Title: "Take 2025 out of the bundles, and remove it",
			Changes: []forecast.Change{
				{Verb: simulation.Changed, Object: "Bundle fleet-trust", What: "− Fleet Root 2025"},
				{Verb: simulation.Removed, Object: object("Certificate", "2025")},
				{Verb: simulation.Removed, Object: object("Secret", "2025")},
				{Verb: simulation.Removed, Object: object("Issuer", "2025")},
			},
			Gate:  []string{"no copy holds 2025", "its Certificate, Secret and Issuer are gone"},
			Blast: forecast.Blast{Namespaces: 2},
			Undo:  "add a third key: 2025 cannot come back once its Secret is gone",
		},
	}
	for i := range stages {
		stages[i].Number, stages[i].Authority, stages[i].From, stages[i].To = first+i, authority, "2025", "2026"
	}
	return stages
}

func diff(object string, lines ...string) forecast.Diff {
	return forecast.Diff{Object: object, Text: strings.Join(lines, "\n") + "\n"}
}

func nothing() forecast.Forecast {
	f := comparing(forecast.Nothing, "The documents that changed change nothing in the cluster.")
	f.Trust = []forecast.TrustChange{{Bundle: "fleet-trust", Before: []forecast.Anchor{root2025}, After: []forecast.Anchor{root2025}}}
	f.Proof = forecast.Proof{Pairs: 12, States: 1, Verified: 12}
	return f
}

func rootRoll() forecast.Forecast {
	f := live(comparing(forecast.Safe, "fleet-root moves from key 2025 to key 2026 in 5 stages, and nobody loses trust on the way."))
	f.Stages, f.PointOfNoReturn = rollOf(root, 1), 5
	f.Trust = []forecast.TrustChange{
		{Bundle: "fleet-trust", Before: []forecast.Anchor{root2025}, After: []forecast.Anchor{root2026}},
		{Bundle: "office-trust", Before: []forecast.Anchor{anchor("", "CN=Office Root", 0x0f, 2020)}, After: []forecast.Anchor{anchor("", "CN=Office Root", 0x0f, 2020)}},
	}
	f.Proof = forecast.Proof{Pairs: 1204, States: 9, Verified: 10836}
	f.Diffs = []forecast.Diff{diff("sites/plant/pki.yaml", "@@ -8,3 +8,4 @@", "   keys:", "-  - {name: \"2025\", state: Signing}", "+  - {name: \"2025\", state: Retired}", "+  - {name: \"2026\", state: Signing}")}
	f.Deletions = []forecast.Deletion{
		{Object: "Certificate cert-manager/fleet-root-2025", Cascade: []string{"CertificateRequest cert-manager/fleet-root-2025-1"}},
		{Object: "Secret cert-manager/fleet-root-2025"},
		{Object: "Issuer cert-manager/fleet-root-2025"},
	}
	return f
}

func withIntermediate() forecast.Forecast {
	f := live(comparing(forecast.Safe, "fleet-root moves from key 2025 to key 2026, and fleet-issuing follows, in 8 stages."))
	below := planner.Ref{Namespace: "cert-manager", Name: "fleet-issuing"}
	stages := rollOf(root, 1)
	child := rollOf(below, 4)
	f.Stages = append(stages[:3:3], child[0], child[2], child[3], stages[4], child[4])
	for i := range f.Stages {
		f.Stages[i].Number = i + 1
		if f.Stages[i].Authority == below {
			f.Stages[i].From, f.Stages[i].To = "a.2025", "a.2026"
		}
	}
	f.PointOfNoReturn = 7
	f.Trust = rootRoll().Trust[:1]
	f.Proof = forecast.Proof{Pairs: 40, States: 14, Verified: 497}
	return f
}

func waits() forecast.Forecast {
	f := rootRoll()
	f.Verdict, f.Summary = forecast.Waits, "fleet-root moves from key 2025 to key 2026 as far as Distribute, and then waits for the bundle that somebody else writes."
	f.Stages, f.PointOfNoReturn, f.Deletions = f.Stages[:2], 0, nil
	f.Manual = []forecast.Step{{Stage: 2, Subject: "TrustBundle office-trust", Do: "add Fleet Root 2026 to ConfigMap office/ca-bundle, whose writer is not reanchor"}}
	f.Warnings = []forecast.Finding{{Rule: "lifetime", Subject: "fleet-root/2025", Place: "sites/plant/anchors/fleet-root/2025.pem:1", Message: "it ends on 2027-01-01; the rollover must begin by 2026-10-02", Mend: "merge this in time"}}
	return f
}

func emergency() forecast.Forecast {
	f := live(comparing(forecast.DropsSome, "Key 2025 of fleet-root is compromised: its anchor goes at once, 3 drop until they have the new one, and 2 go on trusting the thief."))
	f.Stages, f.PointOfNoReturn = rollOf(root, 1)[:3], 2
	f.Stages[1].Title, f.Stages[1].Undo = "Put the anchor of 2026 in the place of that of 2025", "there is no way: 2025 is in the hands of a thief"
	f.Stages[1].Changes[0].What, f.Stages[1].Gate = "+ Fleet Root 2026 − Fleet Root 2025", f.Stages[1].Gate[:2]
	f.Drops = []forecast.Loss{
		{Who: "Device sensors/sensor-0042", Why: "it was last seen before the new anchor was served; it trusts 2025 alone"},
		{Who: "Device sensors/sensor-0077", Why: "it was last seen before the new anchor was served; it trusts 2025 alone"},
		{Who: "Certificate plant/press", Why: "it chains to 2025 until it is issued anew, and Deployment office/historian does not trust that any more"},
	}
	f.StillTrust = []forecast.Loss{{Who: "Deployment office/archive", Why: "it was never seen to reload fleet-trust: restart it"}, {Who: "Device sensors/sensor-0042", Why: "it is offline"}}
	f.Trust = rootRoll().Trust[:1]
	f.Proof = forecast.Proof{Pairs: 30, States: 4, Verified: 117}
	return f
}

func blockedByPolicy() forecast.Forecast {
	f := comparing(forecast.Blocked, "A rule of the repository is broken: short-leaves.")
	f.Trust = []forecast.TrustChange{{Bundle: "fleet-trust", Before: []forecast.Anchor{{Key: "fleet-root/2025", Subject: "CN=Fleet Root 2025"}}, After: []forecast.Anchor{root2026}}}
	f.Blocks = []forecast.Finding{
		{Rule: "short-leaves", Subject: "Certificate plant/press", Place: "sites/plant/leaves.yaml:14", Message: "leaves live 90 days at most", Mend: "set spec.duration to 2160h or less"},
		{Rule: "short-leaves", Subject: "Certificate plant/oven", Place: "sites/plant/leaves.yaml:29", Message: "leaves live 90 days at most", Mend: "set spec.duration to 2160h or less"},
		{Rule: "bundle-too-large", Subject: "TrustBundle fleet-trust", Message: "1,203,114 bytes of 1,048,576 that a ConfigMap holds"},
	}
	return f
}

func blockedByCounterexample() forecast.Forecast {
	f := rootRoll()
	f.Verdict, f.Summary = forecast.Blocked, "In stage 4 a client would not trust a server that it trusts now."
	f.Stages, f.PointOfNoReturn, f.Deletions = f.Stages[:4], 0, nil
	f.Proof = forecast.Proof{Pairs: 1204, States: 7, Verified: 8312, Counterexample: &forecast.Counterexample{
		Stage: 4, Invariant: "pairwise safety",
		Evidence: "Certificate plant/broker (chain: 2026) does not verify with the copy office/fleet-trust (2025), which Deployment office/historian loaded: x509: certificate signed by unknown authority",
	}}
	f.Blocks = []forecast.Finding{{Rule: "proof", Subject: "Deployment office/historian", Message: "it would not trust plant/broker after stage 4", Mend: "mount the bundle instead of a copy of the file"}}
	return f
}

func drifted() forecast.Forecast {
	f := rootRoll()
	f.Warnings = []forecast.Finding{{Rule: "drift", Subject: "the cluster", Message: "it does not hold what the base says: see below"}}
	for i := range 7 {
		f.Drift = append(f.Drift, forecast.Finding{Rule: "drift", Subject: fmt.Sprintf("ConfigMap line-%d/fleet-trust", i), Message: "it lacks the label trust"})
	}
	f.Drift = append(f.Drift, forecast.Finding{Rule: "drift", Subject: "ClusterIssuer fleet", Message: "spec.ca.secretName is fleet-root-test", Mend: "the next turn puts it right"})
	f.Conflicts = []forecast.Finding{{Rule: "field-owner", Subject: "Deployment plant/broker", Message: "spec.template.metadata.annotations is owned by helm", Mend: "take the annotation out of the chart's values"}}
	return f
}

func deletes() forecast.Forecast {
	f := live(comparing(forecast.Safe, "The authority line-root and its bundle go; nobody uses them."))
	f.Stages = rollOf(planner.Ref{Namespace: "cert-manager", Name: "line-root"}, 1)[4:]
	f.Stages[0].Number, f.Stages[0].To, f.PointOfNoReturn = 1, "", 1
	f.Trust = []forecast.TrustChange{{Bundle: "line-trust", Before: []forecast.Anchor{anchor("line-root/2025", "CN=Line Root 2025", 0x71, 2025)}}}
	cascade := make([]string, 217)
	for i := range cascade {
		cascade[i] = fmt.Sprintf("ConfigMap line-%03d/line-trust", i)
	}
	f.Deletions = []forecast.Deletion{{Object: "Bundle line-trust", Cascade: cascade}, {Object: "Certificate cert-manager/line-root-2025", Cascade: []string{"CertificateRequest cert-manager/line-root-2025-1"}}}
	f.Proof = forecast.Proof{Pairs: 1, States: 3, Verified: 3}
	return f
}

func fleet() forecast.Forecast {
	f := rootRoll()
	f.Folder = "."
	f.Summary = "fleet-root moves from key 2025 to key 2026 for 50,000 devices; 212 that are offline hold up Retire."
	reissue := &f.Stages[3]
	for i := range 217 {
		reissue.Changes = append(reissue.Changes, forecast.Change{Verb: simulation.Reissued, Object: fmt.Sprintf("Certificate plant/press-%03d", i)})
	}
	reissue.Blast = forecast.Blast{Leaves: 220, Workloads: 219, Namespaces: 3, Devices: 50000, Names: []string{"Certificate plant/broker", "Device sensors/sensor-00000", "Device sensors/sensor-00001"}}
	reissue.Takes = 72 * time.Hour
	f.Verdict = forecast.Waits
	for i := range 212 {
		f.Manual = append(f.Manual, forecast.Step{Stage: 5, Subject: fmt.Sprintf("Device sensors/sensor-%05d", 200*i), Do: "bring it online, or waive it by name in Git"})
	}
	f.Proof = forecast.Proof{Pairs: 2_500_000, States: 12, Verified: 30_000_000}
	return f
}

// huge is too much for a comment.
func huge() forecast.Forecast {
	f := live(comparing(forecast.Safe, "60 authorities move to new keys."))
	for i := range 60 {
		f.Stages = append(f.Stages, rollOf(planner.Ref{Namespace: "cert-manager", Name: fmt.Sprintf("line-%02d-root", i)}, 5*i+1)...)
		f.Trust = append(f.Trust, forecast.TrustChange{
			Bundle: fmt.Sprintf("line-%02d-trust", i), Before: []forecast.Anchor{anchor(fmt.Sprintf("line-%02d-root/2025", i), fmt.Sprintf("CN=Line %02d Root 2025", i), byte(i), 2025)},
			After: []forecast.Anchor{{Key: fmt.Sprintf("line-%02d-root/2026", i), Subject: fmt.Sprintf("CN=Line %02d Root 2026", i), KnownAfter: planner.Introduce}},
		})
		f.Diffs = append(f.Diffs, diff(fmt.Sprintf("sites/plant/line-%02d.yaml", i), "-a", "+b"))
	}
	f.PointOfNoReturn = 5
	f.Proof = forecast.Proof{Pairs: 3600, States: 120, Verified: 432000}
	return f
}

// evil is a name of somebody who means harm.
const evil = "<img src=x onerror=alert(1)> `ca` ```\n/merge\n# Safe to merge\n--> | **x** [y](https://evil.example) @everyone #1 \x1b[31m \u202eetag $x$ \"; s1 --> s2"

// hostile holds a text wherever there may be one.
func hostile(evil string) forecast.Forecast {
	f := live(comparing(forecast.Blocked, evil))
	f.Folder = "sites/--> <b>plant</b>"
	f.Base.Name, f.Head.Name = evil, "`"+evil
	f.Base.Digest = evil
	f.Stages = []forecast.Stage{
		{
			Number: 1, Authority: planner.Ref{Namespace: evil, Name: evil}, Phase: planner.Phase(evil), From: evil, To: evil, Title: evil, Undo: evil, Gate: []string{evil, "- " + evil, "1. " + evil},
			Changes: []forecast.Change{{Verb: simulation.Made, Object: "Certificate " + evil, What: evil}, {Verb: simulation.Verb(evil), Object: evil}, {Verb: simulation.Made, Object: evil + " a"}, {Verb: simulation.Made, Object: evil + " b"}},
			Blast:   forecast.Blast{Leaves: 1, Names: []string{evil}},
		},
		{Number: 2, Title: "Certificates of the second stage", Undo: "revert"},
	}
	finding := []forecast.Finding{{Rule: evil, Subject: evil, Place: evil, Message: evil, Mend: evil}}
	f.Blocks, f.Warnings, f.Drift, f.Conflicts = finding, finding, finding, finding
	f.Drops, f.StillTrust = []forecast.Loss{{Who: evil, Why: evil}, {Who: evil, Why: evil}}, []forecast.Loss{{Who: evil, Why: evil}}
	f.Manual = []forecast.Step{{Stage: 1, Subject: evil, Do: evil}}
	f.Trust = []forecast.TrustChange{{Bundle: evil, Before: []forecast.Anchor{anchor(evil, evil, 1, 2025)}, After: []forecast.Anchor{{Key: evil, Subject: evil, KnownAfter: planner.Phase(evil)}}}}
	f.Deletions = []forecast.Deletion{{Object: evil, Cascade: []string{evil}}}
	f.Proof = forecast.Proof{Pairs: 1, States: 2, Verified: 2, Counterexample: &forecast.Counterexample{Stage: 2, Invariant: evil, Evidence: evil}}
	f.Diffs = []forecast.Diff{diff(evil, "+```", "/merge", "+</details>", evil), diff("Secret pki/ca", "+  tls.key: "+"LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg==")}
	return f
}

// samples are forecasts made by hand, by their names.
var samples = map[string]forecast.Forecast{
	"nothing": nothing(), "root-roll": rootRoll(), "with-intermediate": withIntermediate(), "waits": waits(),
	"emergency": emergency(), "blocked-by-policy": blockedByPolicy(), "blocked-by-counterexample": blockedByCounterexample(),
	"drift-and-conflicts": drifted(), "deletions": deletes(), "devices": fleet(), "huge": huge(), "hostile": hostile(evil),
	"empty": {},
}
