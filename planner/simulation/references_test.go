package simulation_test

import (
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// listener is the field of another operator's object that names the broker's issuer.
var listener = planner.Field{
	APIVersion: "mqttbroker.iotoperations.azure.com/v1", Kind: "BrokerListener",
	Object: planner.Ref{Namespace: "operations", Name: "default"}, Path: "spec.ports[0].tls.certManagerCertificateSpec.issuerRef.name",
}

// beside declares the root fleet-root with its issuer fleet, and beside it press-root with
// its issuer press. Both are in the bundle fleet-trust from the stage that says so on.
type beside struct {
	// old and press are the keys' states of the two roots; none: it is not declared.
	old, press []state
	// trusted: the bundle distributes press-root too. referred: the listener shall name press.
	trusted, referred bool
}

func (b beside) desired() planner.Desired {
	d := planner.Desired{}
	var trust []string
	if len(b.old) > 0 {
		d.Authorities, trust = append(d.Authorities, root("fleet-root", b.old...)), append(trust, "fleet-root")
		if !b.old[len(b.old)-1].state.Goes() {
			d.Bindings = append(d.Bindings, binding("fleet", "fleet-root"))
		}
	}
	if len(b.press) > 0 {
		press := binding("press", "press-root")
		if b.referred {
			press.Spec.References = []v1alpha1.FieldReference{{
				APIVersion: listener.APIVersion, Kind: listener.Kind, Namespace: listener.Object.Namespace, Name: listener.Object.Name, FieldPath: listener.Path,
			}}
		}
		d.Authorities, d.Bindings = append(d.Authorities, root("press-root", b.press...)), append(d.Bindings, press)
		if b.trusted {
			trust = append(trust, "press-root")
		}
	}
	d.Bundles = []v1alpha1.TrustBundle{bundle("fleet-trust", trust...)}
	return d
}

// The stages of the second way: a new issuer beside the old one.
var (
	onlyOld    = beside{old: keys(signing("2025"))}
	bothTrust  = beside{old: keys(signing("2025")), press: keys(signing("a")), trusted: true}
	referred   = beside{old: keys(signing("2025")), press: keys(signing("a")), trusted: true, referred: true}
	oldIsGoing = beside{old: keys(retired("2025")), press: keys(signing("a")), trusted: true, referred: true}
)

// besideWorld is the plant, in which the listener makes the broker's Certificate, and the
// other leaves have issuers that stay: those of press.
func besideWorld(seed uint64, owner string) *simulation.World {
	users := plant()
	users.Leaves = users.Leaves[:1]
	users.Workloads[1].Secrets, users.Workloads[2].Secrets = nil, nil
	users.Referrers = []simulation.Referrer{{Field: listener, Names: "fleet", Kind: "ClusterIssuer", Leaves: []planner.Ref{{Namespace: "operations", Name: "broker"}}, Owner: owner}}
	return simulation.New(seed, bothTrust.desired(), users)
}

// TestNarrativesOfReferences tells how a new issuer takes an old one's place, by our hand
// and by somebody else's.
func TestNarrativesOfReferences(t *testing.T) {
	for name, owner := range map[string]string{"references": "", "references-of-somebody-else": `field manager "flux"`} {
		t.Run(name, func(t *testing.T) {
			world := besideWorld(1, owner)
			for _, commit := range []struct {
				says string
				want beside
			}{
				{"the old issuer alone", onlyOld},
				{"another authority, an issuer beside the old one, and the listener shall name it", referred},
				{"the old authority shall go", oldIsGoing},
			} {
				world.Desired = commit.want.desired()
				world.Say("commit: %s", commit.says)
				if owner != "" && commit.want.referred && !commit.want.old[0].state.Goes() {
					plan := takeSafeTurns(t, world, 60)
					if hold, is := holdFor(plan, planner.GateReference); !is || hold.Subject != listener.String() {
						t.Fatalf("nobody is asked: %v", plan.Rollovers)
					}
					world.Repoint(listener, "press")
				}
				if log, err := world.Settle(200); err != nil {
					t.Fatalf("%v\n%s", err, log)
				}
			}
			golden.File(t, filepath.Join("testdata", name+".log"), world.Log())
		})
	}
}

func holdFor(plan planner.Plan, gate string) (planner.Hold, bool) {
	for _, rollover := range plan.Rollovers {
		if at := slices.IndexFunc(rollover.Holds, func(h planner.Hold) bool { return h.Gate == gate }); at >= 0 {
			return rollover.Holds[at], true
		}
	}
	return planner.Hold{}, false
}

// TestReferencesFollowTrust: in whatever order Git says what, with neighbours as slow as they
// like and any subset of the writes, no field moves before trust, no issuer goes that one
// names, what somebody else writes is left to him, and it comes to an end.
func TestReferencesFollowTrust(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		owner := rapid.SampledFrom([]string{"", "somebody"}).Draw(t, "owner")
		world := besideWorld(rapid.Uint64().Draw(t, "seed"), owner)
		if rapid.Bool().Draw(t, "record") {
			world.KeepRecord()
		}
		world.Desired = onlyOld.desired()
		settle(t, world)
		world.Disorder = true
		stages := []beside{
			bothTrust, referred, oldIsGoing,
			{old: keys(retired("2025"), signing("2026")), press: keys(retired("a"), signing("b")), trusted: true, referred: true},
			{press: keys(signing("a")), trusted: true, referred: true},
		}
		for range rapid.IntRange(1, 4).Draw(t, "commits") {
			world.Desired = rapid.SampledFrom(stages).Draw(t, "stage").desired()
			for range rapid.IntRange(0, 60).Draw(t, "turns") {
				if rapid.IntRange(0, 40).Draw(t, "forget") == 0 {
					world.ForgetStatus()
				}
				world.Turn()
				failOnViolation(t, world)
			}
		}
		world.Disorder = false
		world.Desired = beside{old: keys(retired("2025"), retired("2026"), signing("k9")), press: keys(retired("a"), retired("b"), signing("k9")), trusted: true, referred: true}.desired()
		for range 60 {
			world.Turn()
			failOnViolation(t, world)
		}
		if owner != "" {
			world.Repoint(listener, "press")
		}
		settle(t, world)
		if names := world.Observe().References[0].Value; names != "press" {
			t.Fatalf("%s names %s\n%s", listener, names, world.Log())
		}
	})
}
