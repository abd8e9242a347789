package forecast

import (
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// roots are the Certificates of an authority's own roots. While there are any, so is the
// Issuer by which they sign themselves. The world has no such Issuers, since nobody depends on
// them; a plan tells of them as of every object.
type roots map[planner.Ref]map[planner.Ref]bool

// rootsOf are those that stand in a world.
func rootsOf(r *run) roots {
	standing := roots{}
	for _, key := range r.world.Observe().Keys {
		if key.HasCertificate && r.isRoot(key.Authority) {
			standing.of(key.Authority)[planner.Ref{Namespace: key.Authority.Namespace, Name: planner.KeyObjectName(key.Authority.Name, key.Name)}] = true
		}
	}
	return standing
}

func (s roots) of(authority planner.Ref) map[planner.Ref]bool {
	if s[authority] == nil {
		s[authority] = map[planner.Ref]bool{}
	}
	return s[authority]
}

// isRoot reports whether an authority's keys sign themselves.
func (r *run) isRoot(authority planner.Ref) bool {
	for _, side := range []Side{r.request.Head, r.request.Base} {
		if declared, is := authorityOf(side.Desired, authority.Name); is {
			return declared.Spec.IssuedBy == nil
		}
	}
	return false
}

// withSelfSigned tells of the Issuers that come with the first Certificate of a root and go
// with the last.
func (r *recorder) withSelfSigned(written []simulation.Written) []simulation.Written {
	var all []simulation.Written
	for _, write := range written {
		all = append(all, write)
		if write.Kind != "Certificate" || len(write.Authorities) != 1 || !r.run.isRoot(write.Authorities[0]) {
			continue
		}
		authority := write.Authorities[0]
		standing := r.roots.of(authority)
		before := len(standing)
		switch write.Verb {
		case simulation.Made:
			standing[write.Ref] = true
		case simulation.Removed:
			delete(standing, write.Ref)
		}
		if (before == 0) != (len(standing) == 0) {
			all = append(all, simulation.Written{
				Verb: write.Verb, Kind: "Issuer", Authorities: write.Authorities,
				Ref: planner.Ref{Namespace: authority.Namespace, Name: planner.SelfSignedName(authority.Name)},
			})
		}
	}
	return all
}
