package forecast

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// holding is what a bundle holds: its anchors, and whether the public CAs are added to them.
type holding struct {
	anchors []Anchor
	public  bool
}

// trust is what each bundle holds in the world as it is.
func (r *run) trust() map[string]holding {
	observed := r.world.Observe()
	holders := r.holders(observed)
	held, public := map[string]pki.Anchors{}, map[string]bool{}
	for _, standing := range observed.Bundles {
		held[standing.Name] = held[standing.Name].Union(standing.Anchors)
		public[standing.Name] = public[standing.Name] || standing.UseDefaultCAs
	}
	trust := map[string]holding{}
	for _, name := range r.bundleNames() {
		var anchors []Anchor
		for _, anchor := range held[name] {
			anchors = append(anchors, r.anchor(anchor, holders[anchor.Fingerprint()]))
		}
		slices.SortFunc(anchors, func(a, b Anchor) int {
			return cmp.Or(cmp.Compare(a.Subject, b.Subject), a.NotBefore.Compare(b.NotBefore), a.Fingerprint.Compare(b.Fingerprint))
		})
		trust[name] = holding{anchors, public[name]}
	}
	return trust
}

// holders are the keys whose certificates are known in the world, "fleet-root/2025".
func (r *run) holders(observed planner.Observed) map[pki.Fingerprint]string {
	holders := map[pki.Fingerprint]string{}
	for _, desired := range []planner.Desired{r.twins.Desired(r.request.Base.Desired), r.world.Desired} {
		for _, authority := range desired.Authorities {
			for _, key := range authority.Spec.Keys {
				if certificates, err := pki.ParsePEM([]byte(key.Certificate)); err == nil && len(certificates) == 1 {
					holders[certificates[0].Fingerprint()] = authority.Metadata.Name + "/" + key.Name
				}
			}
		}
	}
	for _, recorded := range observed.Record.Keys {
		holders[recorded.Certificate.Fingerprint()] = recorded.Authority + "/" + recorded.Name
	}
	for _, key := range observed.Keys {
		if !key.Certificate.IsZero() {
			holders[key.Certificate.Fingerprint()] = key.Authority.Name + "/" + key.Name
		}
	}
	return holders
}

// anchor of the world, as it is known: what the world issued itself is not known yet.
func (r *run) anchor(twin pki.Certificate, key string) Anchor {
	a := Anchor{Key: key, Subject: twin.Subject()}
	if original, known := r.twins.Original(twin); known {
		a.Fingerprint, a.NotBefore, a.NotAfter = original.Fingerprint(), original.NotBefore().UTC(), original.NotAfter().UTC()
		return a
	}
	if !r.stood.Has(twin) {
		a.KnownAfter = planner.Introduce
	}
	return a
}

// compareTrust tells of every bundle what it holds before and after.
func (r *run) compareTrust(before, after map[string]holding) {
	for _, name := range r.bundleNames() {
		r.Trust = append(r.Trust, TrustChange{
			Bundle: name, Before: before[name].anchors, After: after[name].anchors,
			PublicBefore: before[name].public, PublicAfter: after[name].public,
		})
	}
}

// conclude comes to a verdict.
func (f *Forecast) conclude(request Request, end ending) {
	if example := f.Proof.Counterexample; example != nil {
		f.Blocks = append([]Finding{{
			Rule: "proof", Subject: example.Invariant, Message: "a state on the way breaks it: " + example.Evidence,
			Mend: "this is a fault of reanchor or of the cluster: do not merge, and report it",
		}}, f.Blocks...)
	}
	f.Verdict = f.verdict(request)
	f.Summary = f.summary(request, end)
	f.Digest = f.digest(request)
}

func (f *Forecast) verdict(request Request) Verdict {
	switch {
	case len(f.Blocks) > 0 || request.Head.Broken:
		return Blocked
	case len(f.Drops)+len(f.StillTrust) > 0:
		return DropsSome
	case len(f.Manual) > 0:
		return Waits
	case len(f.Stages) == 0 && len(request.WhatIf) == 0:
		return Nothing
	}
	return Safe
}

// summary is why, in one sentence.
func (f *Forecast) summary(request Request, end ending) string {
	switch {
	case request.Head.Broken:
		return "The documents cannot be used: " + counted(len(f.Blocks), "mistake") + " to mend."
	case len(request.WhatIf) > 0:
		return f.summaryOfLoss(request)
	case f.Verdict == Blocked:
		return f.summaryOfBlocks()
	case f.Verdict == Nothing:
		return "Nothing in the cluster changes."
	}
	if end.unfinished && len(f.Stages) > 0 {
		last := f.Stages[len(f.Stages)-1]
		return fmt.Sprintf("It goes as far as %s of %s, and waits there for people: %s.", last.Phase, last.Authority.Name, counted(len(f.Manual), "step"))
	}
	did := f.deeds(request) + " in " + counted(len(f.Stages), "stage")
	if takes := f.takes(); takes > 0 {
		did += " over at least " + brief(takes)
	}
	switch f.Verdict {
	case Waits:
		return fmt.Sprintf("%s, and waits on the way for people: %s.", did, counted(len(f.Manual), "step"))
	case DropsSome:
		return did + "; " + f.harm(end) + "."
	}
	return did + "; no client loses trust."
}

// summaryOfBlocks is the first of them, and how many more there are.
func (f *Forecast) summaryOfBlocks() string {
	first := f.Blocks[0]
	text := "It must not be merged: " + first.Subject + ": " + strings.TrimSuffix(first.Message, ".")
	if more := len(f.Blocks) - 1; more > 0 {
		text += fmt.Sprintf("; and for %s", counted(more, "more reason"))
	}
	return text + "."
}

// harm is what a compromised key does to others, whatever is done here.
func (f *Forecast) harm(end ending) string {
	var words []string
	if n := len(f.Drops); n > 0 {
		words = append(words, loses(n)+" trust for a while")
	}
	switch n := end.believers; {
	case n == 1:
		words = append(words, "1 goes on trusting what the thief signs")
	case n > 1:
		words = append(words, fmt.Sprintf("%d go on trusting what the thief signs", n))
	case len(f.StillTrust) > 0:
		words = append(words, "in the end nobody trusts what the thief signs")
	}
	return list(words)
}

func loses(n int) string {
	if n == 1 {
		return "1 loses"
	}
	return fmt.Sprintf("%d lose", n)
}

// takes is how long it all takes at least: the longest of the authorities.
func (f *Forecast) takes() time.Duration {
	each := map[planner.Ref]time.Duration{}
	var longest time.Duration
	for _, stage := range f.Stages {
		each[stage.Authority] += stage.Takes
		longest = max(longest, each[stage.Authority])
	}
	return longest
}

// deeds say what becomes of each authority: "Rolls fleet-root from 2025 to 2026".
func (f *Forecast) deeds(request Request) string {
	var words []string
	for _, ref := range f.authorities(request) {
		before, _ := authorityOf(request.Base.Desired, ref.Name)
		after, stays := authorityOf(request.Head.Desired, ref.Name)
		words = append(words, f.deed(ref, before, after, stays))
	}
	if len(words) == 0 {
		return "Changes what no rollover is about"
	}
	text := list(words)
	return strings.ToUpper(text[:1]) + text[1:]
}

// authorities that sign with another key in the end, and those that have a stage, in order
// of their first.
func (f *Forecast) authorities(request Request) []planner.Ref {
	var refs []planner.Ref
	for _, after := range request.Head.Desired.Authorities {
		before, _ := authorityOf(request.Base.Desired, after.Metadata.Name)
		if from := signingKey(before); from != "" && from != signingKey(after) {
			refs = append(refs, planner.AuthorityRef(after))
		}
	}
	for _, stage := range f.Stages {
		if stage.Phase != planner.Settled && !slices.Contains(refs, stage.Authority) {
			refs = append(refs, stage.Authority)
		}
	}
	return refs
}

func (f *Forecast) deed(ref planner.Ref, before, after v1alpha1.Authority, stays bool) string {
	if !stays {
		return "takes " + ref.Name + " away"
	}
	if signer := signingKey(after); before.Metadata.Name == "" && signer != "" {
		return fmt.Sprintf("brings in %s with its key %s", ref.Name, signer)
	}
	phases := map[planner.Phase]Stage{}
	for _, stage := range f.Stages {
		if stage.Authority == ref {
			phases[stage.Phase] = stage
		}
	}
	_, moves := phases[planner.Switch]
	_, retires := phases[planner.Retire]
	retired := phases[planner.Retire]
	from, to := signingKey(before), signingKey(after)
	switch {
	case from != "" && to != "" && from != to && isListedBefore(before, to, from):
		return fmt.Sprintf("takes %s back from %s to %s", ref.Name, from, to)
	case from != "" && to != "" && from != to:
		return fmt.Sprintf("rolls %s from %s to %s", ref.Name, from, to)
	case from == to && moves && after.Spec.IssuedBy != nil:
		return fmt.Sprintf("lets %s follow to %s", ref.Name, phases[planner.Switch].To)
	case moves:
		return fmt.Sprintf("lets %s sign with %s", ref.Name, phases[planner.Switch].To)
	case retires:
		return fmt.Sprintf("takes out the key %s of %s", retired.From, ref.Name)
	}
	if introduced, is := phases[planner.Introduce]; is {
		return fmt.Sprintf("brings in the key %s of %s", introduced.To, ref.Name)
	}
	return "goes on with " + ref.Name
}

// isListedBefore reports whether Git lists one key of an authority before another: it is the
// older one.
func isListedBefore(authority v1alpha1.Authority, key, other string) bool {
	at := func(name string) int {
		return slices.IndexFunc(authority.Spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.Name == name })
	}
	return at(key) >= 0 && at(key) < at(other)
}

// signingKey is the key that signs in the end; empty if none does.
func signingKey(authority v1alpha1.Authority) string {
	for _, key := range authority.Spec.Keys {
		if key.State == v1alpha1.KeySigning {
			return key.Name
		}
	}
	return ""
}

// digest is over the documents of the head, and over what is done to whom by them, without
// times, fingerprints and words. Who uses what Git declares is not part of it, for without a
// cluster nobody knows them: restarts, leaves that Git does not declare, canaries, and the
// namespaces of copies. Nor are the manifests beside the documents, of which the planner knows
// nothing.
func (f *Forecast) digest(request Request) string {
	type done struct {
		Authority planner.Ref
		Phase     planner.Phase
		From, To  string
		Changes   []Change
	}
	var canonical struct {
		Documents string
		Stages    []done
		Drops     []string
		Deletions []string
	}
	canonical.Documents, _ = request.Head.Desired.Digest() // of plain data
	beside := request.Beside
	for _, stage := range f.Stages {
		lasting := f.lasting(stage, beside)
		if stage.Phase != planner.Settled || len(lasting) > 0 {
			canonical.Stages = append(canonical.Stages, done{stage.Authority, stage.Phase, stage.From, stage.To, lasting})
		}
	}
	for _, drop := range f.Drops {
		canonical.Drops = append(canonical.Drops, drop.Who)
	}
	for _, deletion := range f.Deletions {
		if strings.HasPrefix(deletion.Object, v1alpha1.KindAuthority+" ") || slices.Contains(beside, Change{Verb: simulation.Removed, Object: deletion.Object}) {
			continue // of an authority that goes, its objects tell
		}
		canonical.Deletions = append(canonical.Deletions, withoutNamespaceOfCopy(deletion.Object))
	}
	slices.Sort(canonical.Deletions)
	canonical.Deletions = slices.Compact(canonical.Deletions)
	return digestOf(canonical)
}

// lasting are the changes of a stage to what Git declares, sorted.
func (f *Forecast) lasting(stage Stage, beside []Change) []Change {
	var lasting []Change
	for _, change := range stage.Changes {
		if change.Verb == simulation.Restarted || change.Verb == simulation.Proved || change.Verb == simulation.Reissued || slices.Contains(beside, change) || strings.HasPrefix(change.Object, devicesOf) {
			continue
		}
		change.Object = withoutNamespaceOfCopy(change.Object)
		lasting = append(lasting, change)
	}
	slices.SortFunc(lasting, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Object, b.Object), cmp.Compare(a.What, b.What))
	})
	return slices.Compact(lasting)
}

func withoutNamespaceOfCopy(object string) string {
	kind, name, _ := strings.Cut(object, " ")
	if namespace, bundle, is := strings.Cut(name, "/"); is && kind == "ConfigMap" && namespace != "" {
		return kind + " */" + bundle
	}
	return object
}

// liveDigest is over what was seen, without its times: canaries and gates come and go.
func liveDigest(observed planner.Observed) string {
	observed.Since = nil
	observed.Keys, observed.Issuers = slices.Clone(observed.Keys), slices.Clone(observed.Issuers)
	for i := range observed.Keys {
		observed.Keys[i].Canary, observed.Keys[i].Proof = planner.Canary{}, planner.Canary{}
	}
	for i := range observed.Issuers {
		observed.Issuers[i].Canary, observed.Issuers[i].Proof = planner.Canary{}, planner.Canary{}
	}
	observed.Leaves, observed.Workloads = slices.Clone(observed.Leaves), slices.Clone(observed.Workloads)
	for i := range observed.Leaves {
		observed.Leaves[i].FailedAt = time.Time{}
	}
	for i := range observed.Workloads {
		observed.Workloads[i].OldestStart = time.Time{}
	}
	return digestOf(observed)
}

func digestOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("forecast: digest: %v", err)) // plain data
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// sortedLosses are losses in order of who.
func sortedLosses(losses map[string]string) []Loss {
	var all []Loss
	for _, who := range slices.Sorted(maps.Keys(losses)) {
		all = append(all, Loss{Who: who, Why: losses[who]})
	}
	return all
}
