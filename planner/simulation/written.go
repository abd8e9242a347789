package simulation

import (
	"slices"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Verb is what is done to an object.
type Verb string

// What is done.
const (
	Made      Verb = "made"
	Changed   Verb = "changed"
	Removed   Verb = "removed"
	Reissued  Verb = "reissued"
	Restarted Verb = "restarted"
	Proved    Verb = "proved"
)

// Values are the verbs that there are.
func (Verb) Values() []string {
	return []string{string(Made), string(Changed), string(Removed), string(Reissued), string(Restarted), string(Proved)}
}

// The kinds of what is written, beside those of workloads.
const (
	kindCertificate   = "Certificate"
	kindIssuer        = "Issuer"
	kindClusterIssuer = "ClusterIssuer"
	kindBundle        = "Bundle"
	kindConfigMap     = "ConfigMap"
	kindSecret        = "Secret"
	// kindFile is a file of the record in Git.
	kindFile = "File"
)

// KindRequest is the kind of what links are asked for by.
const KindRequest = "CertificateRequest"

// KindDevice is the kind of a device that gets a certificate: the first, or another.
const KindDevice = "Device"

// Written is one write of a turn.
type Written struct {
	Verb Verb
	// Kind and Ref of the object; of a file of the record, Ref has its path for a name.
	Kind string
	Ref  planner.Ref
	// Authorities that it is done for, sorted; none of a restart, which the holds of the
	// plan tell about.
	Authorities []planner.Ref
	// Key that is made, or that an issuer signs with now, or signs a device's certificate.
	Key string
	// Added and Lost are the anchors that a bundle or a copy gains and loses.
	Added, Lost pki.Anchors
}

// Object is its kind and name: "Certificate cert-manager/fleet-root-2026".
func (w Written) Object() string { return w.Kind + " " + w.Ref.String() }

// Written are the writes of the last turn, in their order.
func (w *World) Written() []Written { return w.written }

func authorities(refs ...planner.Ref) []planner.Ref {
	refs = slices.DeleteFunc(refs, func(ref planner.Ref) bool { return ref == planner.Ref{} })
	slices.SortFunc(refs, planner.Ref.Compare)
	return slices.Compact(refs)
}

func issuerKind(ref planner.Ref) string {
	if ref.Namespace == "" {
		return kindClusterIssuer
	}
	return kindIssuer
}

func keyTold(verb Verb, kind string, ref planner.Ref, target planner.TargetKey) Written {
	return Written{Verb: verb, Kind: kind, Ref: ref, Authorities: authorities(target.Authority), Key: target.Name}
}

func (w *World) issuerTold(target planner.TargetIssuer) Written {
	told := Written{Verb: Changed, Kind: issuerKind(target.Ref), Ref: target.Ref, Authorities: authorities(target.Authority), Key: target.Key}
	if w.issuers[target.Ref] == nil {
		told.Verb = Made
	}
	return told
}

func copyTold(verb Verb, id copyID) Written {
	kind := kindConfigMap
	if id.secret {
		kind = kindSecret
	}
	return Written{Verb: verb, Kind: kind, Ref: planner.Ref{Namespace: id.namespace, Name: id.bundle}}
}

// bundleTold completes what is told of a bundle, or of a copy: it is done for whose anchors
// come and go.
func (w *World) bundleTold(told Written, stands bool, before, after pki.Anchors) Written {
	told.Added, told.Lost = after.Minus(before), before.Minus(after)
	switch {
	case told.Verb == Removed:
	case stands:
		told.Verb = Changed
	default:
		told.Verb = Made
	}
	for _, anchor := range slices.Concat(told.Added, told.Lost) {
		told.Authorities = append(told.Authorities, w.holderOf(anchor))
	}
	told.Authorities = authorities(told.Authorities...)
	return told
}

// holderOf is the authority whose key an anchor is; zero if it is none's.
func (w *World) holderOf(anchor pki.Certificate) planner.Ref {
	for _, ref := range sortedKeys(w.cas) {
		if ca := w.cas[ref]; !ca.issued.IsZero() && ca.issued.Equal(anchor) {
			return ca.target.Authority
		}
	}
	for _, desired := range []planner.Desired{w.Desired, w.inventory} {
		for _, authority := range desired.Authorities {
			for _, key := range authority.Spec.Keys {
				if key.Certificate == string(anchor.PEM()) {
					return planner.AuthorityRef(authority)
				}
			}
		}
	}
	return planner.Ref{}
}

func (w *World) recordTold(recorded planner.RecordedKey) Written {
	return w.fileTold(recorded.Path(), recorded.Authority, recorded.Name)
}

func (w *World) linkTold(link planner.RecordedLink) Written {
	return w.fileTold(link.Path(), link.Authority, link.Key)
}

func (w *World) fileTold(path, authority, key string) Written {
	told := Written{Verb: Made, Kind: kindFile, Ref: planner.Ref{Name: path}, Key: key}
	for _, desired := range []planner.Desired{w.Desired, w.inventory} {
		for _, declared := range desired.Authorities {
			if declared.Metadata.Name == authority {
				told.Authorities = authorities(planner.AuthorityRef(declared))
			}
		}
	}
	return told
}

func (w *World) actionTold(action planner.Action) Written {
	switch action.Kind {
	case planner.ActionProve:
		told := Written{Verb: Proved, Kind: issuerKind(action.Subject), Ref: action.Subject}
		if i := w.issuers[action.Subject]; i != nil {
			told.Authorities = authorities(i.authority)
		} else if internal := w.internal[action.Subject]; internal != nil {
			told.Authorities = authorities(internal.target.Authority)
		}
		return told
	case planner.ActionReissue:
		told := Written{Verb: Reissued, Kind: kindCertificate, Ref: action.Subject}
		if ca := w.cas[action.Subject]; ca != nil {
			told.Authorities = authorities(ca.target.Authority)
		} else if l := w.leaves[action.Subject]; l != nil {
			told.Authorities = authorities(w.authorityOf(l))
		}
		return told
	case planner.ActionLink:
		told := Written{Verb: Made, Kind: KindRequest, Ref: planner.Ref{Namespace: action.Subject.Namespace, Name: action.Subject.Name + "-link"}}
		if ca := w.cas[action.Subject]; ca != nil {
			told.Authorities, told.Key = authorities(ca.target.Authority), ca.target.Name
		}
		return told
	case planner.ActionUnlink:
		told := Written{Verb: Removed, Kind: KindRequest, Ref: action.Subject}
		if request := w.links[action.Subject]; request != nil {
			told.Ref = planner.Ref{Namespace: action.Subject.Namespace, Name: planner.KeyObjectName(request.authority.Name, request.key) + "-link"}
			told.Authorities, told.Key = authorities(request.authority), request.key
		}
		return told
	case planner.ActionRepoint:
		told := Written{Verb: Changed, Kind: action.Field.Kind, Ref: action.Field.Object}
		if i := w.issuers[planner.Ref{Name: action.To}]; i != nil {
			told.Authorities = authorities(i.authority)
		}
		return told
	case planner.ActionRestart:
		return Written{Verb: Restarted, Kind: action.Workload, Ref: action.Subject}
	}
	told := Written{Verb: Removed, Kind: kindSecret, Ref: action.Subject}
	if internal := w.internal[action.Subject]; internal != nil {
		told.Authorities, told.Key = authorities(internal.target.Authority), internal.target.Name
	}
	return told
}
