package forecast

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// assumption is a cluster that nobody has looked at: what the repository says of it, and one
// of each of those who will be there.
type assumption struct {
	planner.Observed
	// names say what stands for whom: the assumed objects by their kind and name.
	names map[string]string
	// findings tell the reader.
	findings []Finding
}

// anyWorkload and anyLeaf begin the names of what is assumed.
const (
	anyWorkload = "any-workload"
	anyLeaf     = "any-leaf-of-"
)

// assume makes up the cluster in which Git's base has come to its end: the recorded keys are
// there, and everyone who is not known yet is waiting for them.
func assume(request Request) assumption {
	a := assumption{names: map[string]string{}}
	a.Record = request.Record
	a.recordedKeys(request)
	namespaces := a.leaves(request)
	a.copies(request, namespaces)
	a.workloads(request, namespaces)
	return a
}

// recordedKeys are the keys that came to be, as the record has them.
func (a *assumption) recordedKeys(request Request) {
	known := map[string]bool{}
	for _, recorded := range request.Record.Keys {
		known[recorded.Authority+"/"+recorded.Name] = true
		for _, authority := range request.Base.Desired.Authorities {
			if authority.Metadata.Name == recorded.Authority && !recorded.Retired && !isGiven(authority, recorded.Name) {
				a.Keys = append(a.Keys, recordedKey(request.Base.Desired, authority, recorded))
			}
		}
	}
	for _, authority := range request.Base.Desired.Authorities {
		for _, key := range authority.Spec.Keys {
			if name := authority.Metadata.Name + "/" + key.Name; authority.Spec.IssuedBy == nil && !key.Given() && key.State != v1alpha1.KeyRetired && !known[name] {
				a.tell(name, "it is not in the record, so that its certificate is not known without a cluster; the forecast has a stand-in for it")
			}
		}
	}
}

func (a *assumption) tell(subject, message string) {
	a.findings = append(a.findings, Finding{Rule: "assumed", Subject: subject, Message: message})
}

// isGiven reports whether Git gives the key: it is not made here.
func isGiven(authority v1alpha1.Authority, pair string) bool {
	name, _ := v1alpha1.SplitKey(pair)
	return slices.ContainsFunc(authority.Spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.Name == name && k.Given() })
}

func recordedKey(desired planner.Desired, authority v1alpha1.Authority, recorded planner.RecordedKey) planner.Key {
	var signedBy planner.Ref
	if _, above := v1alpha1.SplitKey(recorded.Name); authority.Spec.IssuedBy != nil {
		for _, parent := range desired.Authorities {
			if parent.Metadata.Name != authority.Spec.IssuedBy.Name {
				continue
			}
			signedBy = planner.Ref{Namespace: parent.Metadata.Namespace, Name: planner.KeyObjectName(parent.Metadata.Name, above)}
			if parent.Metadata.Namespace != authority.Metadata.Namespace {
				signedBy.Namespace = ""
			}
		}
	}
	return planner.Key{
		Authority: planner.AuthorityRef(authority), Name: recorded.Name, HasCertificate: true, HasIssuer: true, SecretSeen: true, Issued: true,
		Spec: planner.NewCASpec(authority.Spec, recorded.Name, signedBy), Certificate: recorded.Certificate,
	}
}

// leaves are the Certificates of the repository, and one for each binding that has none. It
// returns the namespaces that there are.
func (a *assumption) leaves(request Request) []string {
	namespaces := slices.Clone(request.Namespaces)
	for _, leaf := range request.Users {
		leaf.Issuing = true
		a.Leaves = append(a.Leaves, leaf)
		namespaces = append(namespaces, leaf.Ref.Namespace)
	}
	if len(namespaces) == 0 {
		namespaces = []string{"default"}
	}
	for _, binding := range bindings(request) {
		issuer := planner.BindingRef(binding)
		if slices.ContainsFunc(a.Leaves, func(l planner.Leaf) bool { return l.Issuer == issuer }) {
			continue
		}
		leaf := planner.Leaf{Ref: planner.Ref{Namespace: cmp.Or(issuer.Namespace, namespaces[0]), Name: anyLeaf + issuer.Name}, Issuer: issuer, Issuing: true}
		leaf.SecretName = leaf.Ref.Name
		a.names["Certificate "+leaf.Ref.String()] = "Certificate any of " + issuerText(issuer)
		a.tell(issuerText(issuer), "no Certificate in the repository refers to it; one is assumed")
		a.Leaves, namespaces = append(a.Leaves, leaf), append(namespaces, leaf.Ref.Namespace)
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// leavesOfHead are the leaves that were seen, without those whose Certificates leave Git,
// and with those that are in Git and not there yet.
func leavesOfHead(request Request, seen []planner.Leaf) []planner.Leaf {
	leaves := slices.DeleteFunc(slices.Clone(seen), func(l planner.Leaf) bool {
		return slices.Contains(request.Beside, Change{Verb: simulation.Removed, Object: "Certificate " + l.Ref.String()})
	})
	for _, leaf := range request.Users {
		if !slices.ContainsFunc(leaves, func(l planner.Leaf) bool { return l.Ref == leaf.Ref }) {
			leaf.Issuing = true
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// bindings of both sides: those of the base first.
func bindings(request Request) []v1alpha1.IssuerBinding {
	all := slices.Clone(request.Base.Desired.Bindings)
	for _, binding := range request.Head.Desired.Bindings {
		if !slices.ContainsFunc(all, func(b v1alpha1.IssuerBinding) bool { return planner.BindingRef(b) == planner.BindingRef(binding) }) {
			all = append(all, binding)
		}
	}
	return all
}

// bundles of both sides, by name.
func bundles(request Request) []string {
	var names []string
	for _, side := range []Side{request.Base, request.Head} {
		for _, bundle := range side.Desired.Bundles {
			names = append(names, bundle.Metadata.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// copies are missing yet, in every namespace.
func (a *assumption) copies(request Request, namespaces []string) {
	for _, bundle := range bundles(request) {
		for _, namespace := range namespaces {
			a.Copies = append(a.Copies, planner.Copy{Bundle: bundle, Namespace: namespace, Missing: true, Problem: "there is no such ConfigMap yet"})
		}
	}
}

// workloads are one in each namespace, which mounts whatever there is.
func (a *assumption) workloads(request Request, namespaces []string) {
	for _, namespace := range namespaces {
		w := planner.Workload{Kind: "Deployment", Ref: planner.Ref{Namespace: namespace, Name: anyWorkload}, Rolling: true}
		for _, bundle := range bundles(request) {
			w.Bundles = append(w.Bundles, planner.Mount{Name: bundle, Kind: planner.MountVolume})
		}
		for _, leaf := range a.Leaves {
			if leaf.Ref.Namespace == namespace {
				w.Secrets = append(w.Secrets, planner.Mount{Name: leaf.SecretName, Kind: planner.MountVolume})
			}
		}
		a.names[w.String()] = "Workload any in namespace " + namespace
		a.Workloads = append(a.Workloads, w)
	}
	a.tell("workloads", fmt.Sprintf("nobody has looked at a cluster: in each namespace (%s) one workload is assumed that mounts every bundle and every leaf there", strings.Join(namespaces, ", ")))
}

func issuerText(ref planner.Ref) string {
	if ref.Namespace == "" {
		return "ClusterIssuer " + ref.Name
	}
	return "Issuer " + ref.String()
}
