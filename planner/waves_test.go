package planner_test

import (
	"fmt"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// inWaves is the switched plant with four more leaves, each presented by a workload of its
// own, reissued in waves of a fifth, three fifths and all. In the order of waves they are
// spare-4, then spare-1 and spare-2, then broker and spare-3.
func inWaves(moved ...string) *site {
	s := switched()
	for n := 1; n <= 4; n++ {
		ref := planner.Ref{Namespace: "plant", Name: fmt.Sprintf("spare-%d", n)}
		s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{
			Ref: ref, Issuer: planner.Ref{Name: "fleet"}, SecretName: ref.Name + "-tls", Foreign: n == 3,
			Chain: []pki.Certificate{newLeaf(ref.Name, key2025).Certificate},
		})
		s.observed.Workloads = append(s.observed.Workloads, planner.Workload{Kind: "Deployment", Ref: ref, Secrets: volume(ref.Name + "-tls"), Pods: 2})
	}
	s.desired.Authorities[0].Spec.Rollover.Waves = []int{20, 60, 100}
	s.reload()
	for _, name := range moved {
		s.move(name)
	}
	return s
}

// move lets a leaf chain to 2026.
func (s *site) move(name string) {
	s.leafNamed(name).Chain = []pki.Certificate{newLeaf(name+" anew", key2026).Certificate}
}

func (s *site) leafNamed(name string) *planner.Leaf {
	for i := range s.observed.Leaves {
		if s.observed.Leaves[i].Ref.Name == name {
			return &s.observed.Leaves[i]
		}
	}
	panic("there is no leaf " + name)
}

func (s *site) presenter(name string) *planner.Workload {
	for i := range s.observed.Workloads {
		if s.observed.Workloads[i].Ref.Name == name {
			return &s.observed.Workloads[i]
		}
	}
	panic("there is no workload " + name)
}

// proved lets everyone have loaded what is there, and a turn remember it.
func (s *site) proved() {
	s.reload()
	s.observed.Since = s.next().Gates
}

// withoutDrops lets 2025 stay, so that nobody drops when it goes.
func withoutDrops(s *site) {
	for i := range s.desired.Authorities[0].Spec.Keys {
		if key := &s.desired.Authorities[0].Spec.Keys[i]; key.Name == "2025" {
			key.State = v1alpha1.KeyTrusted
		}
	}
}

func TestWaves(t *testing.T) {
	at := func(progress string) string { return "fleet-root none → 2026: Reissue: " + progress }
	ask := func(name string) []string {
		return []string{"- leaf: Certificate plant/" + name + ": chains to 2025, not to 2026"}
	}
	do := func(name string) string { return "do Reissue plant/" + name + ": chains to 2025, not to 2026" }
	scenes := map[string]scene{
		"the first": {
			site: inWaves(),
			want: append([]string{at("wave 1 of 3 (20%): 0 of 1 leaf chains to 2026; 0 of 5 in all")}, append(ask("spare-4"), do("spare-4"), inAnHour)...),
		},
		"whoever presents it is restarted before the next": {
			site: inWaves("spare-4"),
			want: []string{
				at("wave 1 of 3 (20%): 1 of 1 leaf chains to 2026; 1 of 5 in all; 0 of 1 presenters have reloaded"),
				"- reload: Deployment plant/spare-4: restarting now",
				"do Restart Deployment plant/spare-4: " + notShowing, inAnHour,
			},
		},
		"the second": {
			site: inWaves("spare-4"), change: (*site).reload,
			want: append([]string{at("wave 2 of 3 (60%): 0 of 2 leaves chain to 2026; 1 of 5 in all")},
				"- leaf: Certificate plant/spare-1: chains to 2025, not to 2026", "- leaf: Certificate plant/spare-2: chains to 2025, not to 2026",
				do("spare-1"), do("spare-2"), inAnHour),
		},
		"one that renewed by itself counts, and its presenter is asked with its own wave": {
			site: inWaves("spare-4", "spare-3"), change: (*site).reload,
			want: append([]string{at("wave 2 of 3 (60%): 0 of 2 leaves chain to 2026; 2 of 5 in all")},
				"- leaf: Certificate plant/spare-1: chains to 2025, not to 2026", "- leaf: Certificate plant/spare-2: chains to 2025, not to 2026",
				do("spare-1"), do("spare-2"), inAnHour),
		},
		"one that failed stops the next": {
			site: inWaves("spare-4", "spare-1"), change: func(s *site) {
				s.proved()
				s.leafNamed("spare-2").FailedAt, s.leafNamed("spare-2").Problem = s.now, "the webhook denied it"
			},
			want: []string{
				at("wave 2 of 3 (60%): 1 of 2 leaves chain to 2026; 2 of 5 in all"),
				"- leaf: Certificate plant/spare-2: failed at 2026-03-01T12:10:00Z: the webhook denied it; asked for again at 2026-03-01T12:20:00Z",
				"look again after 10m0s",
			},
		},
		"one that moved and cannot be renewed stops the next": {
			site: inWaves("spare-4"), change: func(s *site) {
				s.proved()
				s.leafNamed("spare-4").FailedAt, s.leafNamed("spare-4").Problem = s.now, "the webhook denied it"
			},
			want: []string{
				at("wave 1 of 3 (20%): 1 of 1 leaf chains to 2026; 1 of 5 in all"),
				"- wave: Certificate plant/spare-4: chains to 2026, and to renew it failed at 2026-03-01T12:10:00Z: the webhook denied it: the next wave waits until it is mended",
				inAnHour,
			},
		},
		"one that does not come up with its new leaf stops the next": {
			site: inWaves("spare-4"), change: func(s *site) {
				s.proved()
				s.presenter("spare-4").Rolling = true
			},
			want: []string{
				at("wave 1 of 3 (20%): 1 of 1 leaf chains to 2026; 1 of 5 in all"),
				"- wave: Deployment plant/spare-4: presents a leaf of wave 1, and not all of its pods are available: the next wave waits until they are",
				inAnHour,
			},
		},
		"the last, and a foreign one in it": {
			site: inWaves("spare-4", "spare-1", "spare-2"), change: (*site).reload,
			want: append([]string{at("wave 3 of 3 (100%): 0 of 2 leaves chain to 2026 (1 of the 2 foreign); 3 of 5 in all")},
				"- leaf: Certificate plant/broker: chains to 2025, not to 2026", "- leaf: Certificate plant/spare-3: chains to 2025, not to 2026",
				do("broker"), do("spare-3"), inAnHour),
		},
		"all done": {
			site: inWaves("spare-4", "spare-1", "spare-2", "broker", "spare-3"), change: (*site).reload,
			want: []string{"fleet-root none → 2026: Settled: 2026 signs; 5 leaves chain to it (1 of the 5 foreign)", inAnHour},
		},
	}
	for name, told := range scenes {
		change := told.change
		told.change = func(s *site) {
			if withoutDrops(s); change != nil {
				change(s)
			}
		}
		scenes[name] = told
	}
	play(t, scenes)
}

// TestAWaveIsPresentedOnce: what a wave has proved is not asked for again when a leaf of it
// is renewed; a leaf that is new in it is.
func TestAWaveIsPresentedOnce(t *testing.T) {
	s := inWaves("spare-4")
	withoutDrops(s)
	s.proved()
	s.leafNamed("spare-4").Chain = []pki.Certificate{newLeaf("spare-4 renewed", key2026).Certificate}
	if told := tell(s.next(), s.now); told[0] != "fleet-root none → 2026: Reissue: wave 2 of 3 (60%): 0 of 2 leaves chain to 2026; 1 of 5 in all" {
		t.Errorf("after a renewal: %q", told)
	}
	s.desired.Authorities[0].Spec.Rollover.Waves = []int{40, 100}
	s.move("spare-1")
	s.move("spare-2")
	want := "- reload: Deployment plant/spare-4: waits its turn: Deployment plant/spare-1 is being restarted"
	for _, line := range tell(s.next(), s.now) {
		if line == want {
			return
		}
	}
	t.Errorf("a wave of other leaves is another: %q", tell(s.next(), s.now))
}

// TestTheFirstOutsideIsOfTheWave: with an external issuer, one leaf of the first wave asks
// alone, and no leaf of a later wave is waited for.
func TestTheFirstOutsideIsOfTheWave(t *testing.T) {
	s := outsideInWaves()
	plan := s.next()
	if len(plan.Actions) != 1 || plan.Actions[0].Kind != planner.ActionReissue {
		t.Fatalf("the plan does %v", tell(plan, s.now))
	}
	first := plan.Actions[0].Subject.Name
	s.move(first)
	s.presenter(first).LeavesDigest = planner.LeavesDigest(map[string]pki.Fingerprint{first + "-tls": s.leafNamed(first).Chain[0].Fingerprint()})
	if again := s.next(); len(again.Actions) == 0 || again.Actions[0].Subject.Name == first {
		t.Errorf("once %s has come back, the plan does %v", first, tell(again, s.now))
	}
}

// outsideInWaves is inWaves, with 2026 behind an external issuer.
func outsideInWaves() *site {
	s := inWaves()
	withoutDrops(s)
	const spec = `{"acme":{"server":"https://ca.example"}}`
	for i := range s.desired.Authorities[0].Spec.Keys {
		if key := &s.desired.Authorities[0].Spec.Keys[i]; key.Name == "2026" {
			key.Certificate, key.Issuer = string(key2026.PEM()), &apiextensionsv1.JSON{Raw: []byte(spec)}
		}
	}
	s.observed.Keys = s.observed.Keys[:1]
	issuer := s.issuer()
	issuer.SecretName, issuer.Spec, issuer.SignsWith, issuer.Ours, issuer.Ready = "", spec, "cert-manager/fleet-root/2026", true, true
	s.rest(time.Second)
	return s
}
