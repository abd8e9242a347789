package simulation_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// shape is what a random site looks like, whatever its keys: its authorities and who
// issues them.
type shape struct {
	name string
	// parents by authority, parents first; empty: a root.
	authorities []string
	parents     map[string]string
	// elsewhere are the authorities that lie in a namespace of their own.
	elsewhere map[string]string
	// issuers by their authority.
	issuers map[string]string
	// trust is the roots of each bundle.
	trust map[string][]string
	// origins say where an authority's keys come from, if not from here.
	origins map[string]origin
	// via says who writes a bundle's copies, if not trust-manager.
	via map[string]v1alpha1.BundleVia
	// groups of devices, by the issuer that signs for them.
	groups map[string]string
	care
}

// origin is where keys come from.
type origin string

const (
	here      origin = ""
	inSecret  origin = "in a Secret"
	behind    origin = "behind an issuer"
	offline   origin = "offline"
	underSafe origin = "under an offline root"
	// mixed: k1 and k3 are made here, k2 and k9 are behind an issuer.
	mixed origin = "mixed"
)

// abroad is where the keys of all sites come from that come from elsewhere.
var abroad = simulation.NewOutside()

// keyOf declares a key with its origin.
func (s shape) keyOf(authority, namespace string, key state) v1alpha1.AuthorityKey {
	name := authority + " " + key.name
	declared := v1alpha1.AuthorityKey{}
	switch from := s.origins[authority]; {
	case from == inSecret:
		declared = abroad.InSecret(name, planner.Ref{Namespace: namespace, Name: "brought-" + authority + "-" + key.name})
	case from == behind, from == mixed && (key.name == "k2" || key.name == "k9"):
		declared = abroad.Behind(name)
	case from == offline:
		declared = abroad.Offline(name)
	case from == underSafe:
		parent := abroad.Offline(s.parents[authority] + " " + key.name)
		declared = abroad.Under(name, parent, planner.Ref{Namespace: namespace, Name: "brought-" + authority + "-" + key.name})
	}
	declared.Name, declared.State = key.name, key.state
	return declared
}

var shapes = []shape{
	{
		name: "a root", authorities: []string{"fleet-root"},
		issuers: map[string]string{"fleet-root": "fleet"},
		trust:   map[string][]string{"fleet-trust": {"fleet-root"}},
	},
	{
		name: "a root with an intermediate", authorities: []string{"fleet-root", "fleet-issuing"},
		parents: map[string]string{"fleet-issuing": "fleet-root"},
		issuers: map[string]string{"fleet-issuing": "fleet"},
		trust:   map[string][]string{"fleet-trust": {"fleet-root"}},
	},
	{
		name: "a root and devices", authorities: []string{"fleet-root"},
		issuers: map[string]string{"fleet-root": "fleet"},
		trust:   map[string][]string{"fleet-trust": {"fleet-root"}},
		groups:  map[string]string{"sensors": "fleet"},
	},
	{
		name: "an intermediate with devices under it, and one that has none", authorities: []string{"fleet-root", "fleet-issuing", "fleet-line"},
		parents: map[string]string{"fleet-issuing": "fleet-root", "fleet-line": "fleet-root"},
		issuers: map[string]string{"fleet-issuing": "fleet", "fleet-line": "line"},
		trust:   map[string][]string{"fleet-trust": {"fleet-root"}},
		groups:  map[string]string{"sensors": "fleet"},
	},
	{
		name: "three levels, and leaves of each", authorities: []string{"fleet-root", "fleet-site", "fleet-line"},
		parents:   map[string]string{"fleet-site": "fleet-root", "fleet-line": "fleet-site"},
		elsewhere: map[string]string{"fleet-line": "workload"},
		issuers:   map[string]string{"fleet-root": "root", "fleet-site": "site", "fleet-line": "line"},
		trust:     map[string][]string{"fleet-trust": {"fleet-root"}},
	},
	{
		name: "two roots in one bundle, one of them in another too", authorities: []string{"fleet-root", "press-root", "fleet-issuing"},
		parents: map[string]string{"fleet-issuing": "fleet-root"},
		issuers: map[string]string{"fleet-issuing": "fleet", "press-root": "press"},
		trust:   map[string][]string{"fleet-trust": {"fleet-root"}, "plant-trust": {"fleet-root", "press-root"}},
	},
	{
		name: "roots in Secrets and behind an issuer, copies written here", authorities: []string{"fleet-root", "press-root"},
		issuers: map[string]string{"fleet-root": "fleet", "press-root": "press"},
		trust:   map[string][]string{"fleet-trust": {"fleet-root"}, "plant-trust": {"fleet-root", "press-root"}},
		origins: map[string]origin{"fleet-root": inSecret, "press-root": behind},
		via:     map[string]v1alpha1.BundleVia{"fleet-trust": v1alpha1.ViaConfigMap},
	},
	{
		name: "an offline root, copies written by somebody else", authorities: []string{"fleet-root", "fleet-issuing"},
		parents: map[string]string{"fleet-issuing": "fleet-root"},
		issuers: map[string]string{"fleet-issuing": "fleet"},
		trust:   map[string][]string{"fleet-trust": {"fleet-root"}},
		origins: map[string]origin{"fleet-root": offline, "fleet-issuing": underSafe},
		via:     map[string]v1alpha1.BundleVia{"fleet-trust": v1alpha1.ViaObserved},
	},
	{
		name: "a root that moves between here and an issuer", authorities: []string{"fleet-root"},
		issuers: map[string]string{"fleet-root": "fleet"},
		trust:   map[string][]string{"fleet-trust": {"fleet-root"}},
		origins: map[string]origin{"fleet-root": mixed},
		via:     map[string]v1alpha1.BundleVia{"fleet-trust": v1alpha1.ViaConfigMap},
	},
}

// alone are the shapes of which any authority can roll alone: under an offline root the
// next intermediate must arrive with it.
func alone() []shape {
	return slices.DeleteFunc(slices.Clone(shapes), func(s shape) bool { return slices.Contains(slices.Collect(maps.Values(s.origins)), underSafe) })
}

// world is a site on its first day, within reach of all keys that may come.
func (s shape) world(t *rapid.T, users simulation.Users) *simulation.World {
	for _, key := range []string{"k1", "k2", "k3", "k4", "k5", "k9"} {
		s.desired(s.keysTo(key))
	}
	world := simulation.New(rapid.Uint64().Draw(t, "seed"), s.desired(s.first()), users)
	world.Join(abroad)
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		for n := range rapid.IntRange(1, 3).Draw(t, "devices of "+name) {
			world.Enrol(simulation.Device{Group: name, Name: fmt.Sprint(n)})
		}
	}
	return world
}

// homely are the shapes whose keys are all made here.
func homely() []shape {
	return slices.DeleteFunc(slices.Clone(shapes), func(s shape) bool { return len(s.origins) > 0 })
}

// namespaces of every site.
var namespaces = []string{"operations", "workload"}

// desired declares the site with these keys by authority.
func (s shape) desired(keys map[string][]state) planner.Desired {
	var d planner.Desired
	for _, name := range s.authorities {
		authority := root(name, keys[name]...)
		if parent := s.parents[name]; parent != "" {
			authority = issuing(name, s.elsewhere[name], parent, keys[name]...)
			authority.Spec.Duration = duration(s.lifeOf(name))
		}
		for i, key := range keys[name] {
			authority.Spec.Keys[i] = s.keyOf(name, authority.Metadata.Namespace, key)
		}
		authority.Spec.Rollover.Waves, authority.Spec.Rollover.Windows = s.waves, s.windows
		d.Authorities = append(d.Authorities, authority)
		if issuer := s.issuers[name]; issuer != "" {
			bound := binding(issuer, name)
			if namespace := s.elsewhere[name]; namespace != "" {
				bound.Spec.Scope, bound.Metadata.Namespace = v1alpha1.ScopeNamespace, namespace
			}
			d.Bindings = append(d.Bindings, bound)
		}
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range s.trust {
			if !yield(name) {
				return
			}
		}
	}) {
		declared := bundle(name, s.trust[name]...)
		declared.Spec.Via, declared.Spec.Probes = cmp.Or(s.via[name], v1alpha1.ViaBundle), s.probes[name]
		d.Bundles = append(d.Bundles, declared)
	}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		d.Groups = append(d.Groups, group(name, s.groups[name]))
	}
	return d
}

// lifeOf is how long an authority's certificates live: shorter than its parent's.
func (s shape) lifeOf(name string) time.Duration {
	life := 87600 * time.Hour
	for parent := s.parents[name]; parent != ""; parent = s.parents[parent] {
		life -= 20000 * time.Hour
	}
	return life
}

// first are the keys on the first day.
func (s shape) first() map[string][]state {
	keys := map[string][]state{}
	for _, name := range s.authorities {
		keys[name] = []state{signing("k1")}
	}
	return keys
}

// drawn are random valid lists of keys: exactly one of each authority signs, any other
// may be trusted, retired or not listed.
func (s shape) drawn(t *rapid.T) map[string][]state {
	keys := map[string][]state{}
	for _, name := range s.authorities {
		if rapid.IntRange(0, 2).Draw(t, "leave "+name) == 0 {
			keys[name] = []state{signing("k1")}
			continue
		}
		keys[name] = drawKeys(t, "k1", "k2", "k3")
	}
	return keys
}

// drawKeys draws a valid list of some of the names.
func drawKeys(t *rapid.T, names ...string) []state {
	signer := rapid.IntRange(0, len(names)-1).Draw(t, "signer")
	var keys []state
	for i, name := range names {
		if i == signer {
			keys = append(keys, signing(name))
			continue
		}
		switch n := rapid.IntRange(0, 9).Draw(t, "state of "+name); {
		case n < 3:
			keys = append(keys, trusted(name))
		case n < 6:
			keys = append(keys, retired(name))
		case n == 9:
			keys = append(keys, compromised(name))
		}
	}
	return keys
}

// fresh are new keys for all authorities: always a way out.
func (s shape) fresh() map[string][]state {
	keys := map[string][]state{}
	for _, name := range s.authorities {
		keys[name] = []state{retired("k1"), retired("k2"), retired("k3"), signing("k9")}
	}
	return keys
}

// drawUsers draws who depends on a site: leaves of every issuer, some of them foreign,
// and workloads of every kind, which verify, present, or both.
func (s shape) drawUsers(t *rapid.T) simulation.Users {
	users := simulation.Users{Namespaces: namespaces}
	desired := s.desired(s.first())
	for i, bound := range desired.Bindings {
		for n := range rapid.IntRange(1, 2).Draw(t, "leaves of "+bound.Metadata.Name) {
			namespace := namespaces[(i+n)%len(namespaces)]
			if bound.Metadata.Namespace != "" {
				namespace = bound.Metadata.Namespace
			}
			name := fmt.Sprintf("%s-%d", bound.Metadata.Name, n)
			users.Leaves = append(users.Leaves, planner.Leaf{
				Ref: planner.Ref{Namespace: namespace, Name: name}, Issuer: planner.BindingRef(bound),
				SecretName: name + "-tls", Foreign: rapid.Bool().Draw(t, "foreign "+name),
			})
			users.Workloads = append(users.Workloads, s.drawWorkload(t, namespace, name, name+"-tls"))
		}
	}
	users.Workloads = append(users.Workloads, s.drawWorkload(t, "workload", "watcher", ""))
	return users
}

func (s shape) drawWorkload(t *rapid.T, namespace, name, secret string) planner.Workload {
	kinds := []planner.MountKind{planner.MountVolume, planner.MountVolume, planner.MountSubPath, planner.MountEnv}
	mount := func(of string) planner.Mount {
		return planner.Mount{Name: of, Kind: rapid.SampledFrom(kinds).Draw(t, "mount of "+of)}
	}
	w := planner.Workload{
		Kind: rapid.SampledFrom([]string{"Deployment", "Deployment", "StatefulSet", "DaemonSet", "Pod"}).Draw(t, "kind of "+name),
		Ref:  planner.Ref{Namespace: namespace, Name: name},
	}
	for _, of := range s.desired(s.first()).Bundles {
		w.Bundles = append(w.Bundles, mount(of.Metadata.Name))
	}
	if secret != "" {
		own := mount(secret)
		own.OwnCA = rapid.SampledFrom([]planner.OwnCA{planner.OwnCAHidden, planner.OwnCAVisible}).Draw(t, "ca.crt of "+secret)
		w.Secrets = []planner.Mount{own}
	}
	if rapid.IntRange(0, 2).Draw(t, name+" reloads") == 0 {
		w.Reloads = 30 * time.Second
	}
	return w
}
