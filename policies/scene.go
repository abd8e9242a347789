package policies

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// scene is an Input with its parts laid out, for the rules to look things up in.
type scene struct {
	Input
	objects     objects
	authorities []*v1alpha1.Authority
	groups      []*v1alpha1.DeviceGroup
	devices     []*v1alpha1.Device
	bundles     []*v1alpha1.TrustBundle
	policies    []*v1alpha1.Policy
	// rules of the team's own, and what is wrong with the policies.
	rules    Rules
	problems []v1alpha1.PolicyProblem
	// plan as JSON has it, made when it is asked for.
	plan func() any
	// leaves are the Certificates among the manifests that are not planned: all but those
	// of CA keys.
	leaves []*unstructured.Unstructured
	// behind tells which authority's keys sign what an issuer is asked for.
	behind map[id]planner.Ref
	// cas are the certificates of keys in use, as far as they are known.
	cas []knownCA
}

// knownCA is the certificate of one key.
type knownCA struct {
	authority, key string
	certificate    pki.Certificate
	// given reports that Git gives it.
	given bool
}

func newScene(input Input) *scene {
	s := &scene{Input: input, objects: index(input.Manifests)}
	for _, document := range input.Documents {
		switch object := document.(type) {
		case *v1alpha1.Authority:
			s.authorities = append(s.authorities, object)
		case *v1alpha1.DeviceGroup:
			s.groups = append(s.groups, object)
		case *v1alpha1.Device:
			s.devices = append(s.devices, object)
		case *v1alpha1.TrustBundle:
			s.bundles = append(s.bundles, object)
		case *v1alpha1.Policy:
			s.policies = append(s.policies, object)
		}
	}
	s.plan = sync.OnceValue(func() any { return contentOf(input.Plan) })
	s.rules, s.problems = compilePolicies(s.policies)
	s.behind = authoritiesBehind(input.Plan.Target)
	s.leaves = s.unplannedCertificates()
	s.cas = s.knownCAs()
	return s
}

// authoritiesBehind are the authorities by the planned issuers that sign with their keys.
func authoritiesBehind(target planner.Target) map[id]planner.Ref {
	behind := map[id]planner.Ref{}
	for _, key := range target.Keys {
		for _, internal := range internalIssuers(key) {
			behind[internal] = key.Authority
		}
	}
	for _, issuer := range target.Issuers {
		if issuer.Key != "" {
			behind[issuerID(issuer.Ref)] = issuer.Authority
		}
	}
	return behind
}

func (s *scene) unplannedCertificates() []*unstructured.Unstructured {
	planned := plannedObjects(s.Plan.Target).objects
	var found []*unstructured.Unstructured
	for _, manifest := range s.Manifests {
		if object := idOf(manifest); object.group == certManager && object.kind == certificate && !planned[object] {
			found = append(found, manifest)
		}
	}
	return found
}

// knownCAs are the certificates that Git gives, that it remembers and that were seen, of
// keys that Git does not give up.
func (s *scene) knownCAs() []knownCA {
	var cas []knownCA
	for _, authority := range s.authorities {
		for _, key := range authority.Spec.Keys {
			if certificates, err := pki.ParsePEM([]byte(key.Certificate)); err == nil && len(certificates) == 1 {
				cas = append(cas, knownCA{authority.Metadata.Name, key.Name, certificates[0], true})
			}
		}
	}
	for _, key := range s.Observed.Record.Keys {
		if !key.Retired {
			cas = append(cas, knownCA{key.Authority, key.Name, key.Certificate, false})
		}
	}
	for _, key := range s.Observed.Keys {
		if !key.Certificate.IsZero() {
			cas = append(cas, knownCA{key.Authority.Name, key.Name, key.Certificate, false})
		}
	}
	return slices.DeleteFunc(cas, func(ca knownCA) bool { return !s.inUse(ca) })
}

// inUse reports whether Git goes on with a key. One that it does not list is retired.
func (s *scene) inUse(ca knownCA) bool {
	name, _ := v1alpha1.SplitKey(ca.key)
	authority := s.authority(ca.authority)
	return authority != nil && slices.ContainsFunc(authority.Spec.Keys, func(key v1alpha1.AuthorityKey) bool {
		return key.Name == name && (key.State == v1alpha1.KeySigning || key.State == v1alpha1.KeyTrusted)
	})
}

// authority of that name; nil if there is none.
func (s *scene) authority(name string) *v1alpha1.Authority {
	for _, authority := range s.authorities {
		if authority.Metadata.Name == name {
			return authority
		}
	}
	return nil
}

// above are the authorities over one, the nearest first.
func (s *scene) above(authority *v1alpha1.Authority) []*v1alpha1.Authority {
	var found []*v1alpha1.Authority
	for authority.Spec.IssuedBy != nil {
		authority = s.authority(authority.Spec.IssuedBy.Name)
		if authority == nil || slices.Contains(found, authority) {
			break
		}
		found = append(found, authority)
	}
	return found
}

// certificatesOf are the known certificates of an authority's keys, each once.
func (s *scene) certificatesOf(authority string) []knownCA {
	var found []knownCA
	for _, ca := range s.cas {
		if ca.authority == authority && !slices.ContainsFunc(found, func(f knownCA) bool { return f.certificate.Equal(ca.certificate) }) {
			found = append(found, ca)
		}
	}
	return found
}

// groupIssuer is the issuer that signs for a group of devices.
func groupIssuer(group *v1alpha1.DeviceGroup) id {
	ref := planner.Ref{Name: group.Spec.Issuer.Name}
	if group.Spec.Issuer.Kind == v1alpha1.KindIssuer {
		ref.Namespace = group.Spec.Namespace
	}
	return issuerID(ref)
}

// named is how a violation names a document: "Authority pki/root".
func named(object v1alpha1.Object) string {
	metadata := v1alpha1.MetadataOf(object)
	return v1alpha1.KindOf(object) + " " + planner.Ref{Namespace: metadata.Namespace, Name: metadata.Name}.String()
}
