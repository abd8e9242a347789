package forecast

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// title says in a few words what a stage does.
func (e *entry) title() string {
	switch e.Phase {
	case planner.Introduce:
		return fmt.Sprintf("Make key %s of %s", e.key, e.Authority.Name)
	case planner.Distribute:
		if !e.changesBundles() {
			return fmt.Sprintf("Wait until everyone trusts %s", e.key)
		}
		return fmt.Sprintf("Add the anchor of %s to the bundles", e.key)
	case planner.Switch:
		if e.isStolen && e.changesBundles() {
			return fmt.Sprintf("Put %s of %s in the place of %s", e.key, e.Authority.Name, e.From)
		}
		return fmt.Sprintf("Let %s sign with %s", e.Authority.Name, e.key)
	case planner.Reissue:
		if len(e.leaves) == 0 && e.isStolen {
			return fmt.Sprintf("See that nobody trusts %s of %s any more", e.From, e.Authority.Name)
		}
		if len(e.leaves) == 0 && len(e.devices) > 0 {
			return fmt.Sprintf("Issue the devices' certificates of %s anew with %s", e.Authority.Name, e.key)
		}
		if len(e.leaves) == 0 {
			return "See that everyone presents what " + e.key + " signed"
		}
		return fmt.Sprintf("Issue the leaves of %s anew with %s", e.Authority.Name, e.key)
	case planner.Retire:
		if e.isIntermediate() {
			return fmt.Sprintf("Remove %s of %s", e.key, e.Authority.Name)
		}
		if !e.changesBundles() {
			return fmt.Sprintf("Remove %s of %s", e.key, e.Authority.Name)
		}
		return fmt.Sprintf("Take %s out of the bundles, and remove it", e.key)
	}
	if e.Authority == (planner.Ref{}) {
		return "Apply what stands in Git beside the documents"
	}
	return "Change what no rollover is about"
}

// isIntermediate reports whether the key is a pair under another authority's.
func (e *entry) isIntermediate() bool {
	_, parent := v1alpha1.SplitKey(e.key)
	return parent != ""
}

// changesBundles reports whether an anchor comes or goes.
func (e *entry) changesBundles() bool {
	return slices.ContainsFunc(e.Changes, func(c Change) bool {
		return strings.HasPrefix(c.Object, "Bundle ") || strings.HasPrefix(c.Object, "ConfigMap ") || strings.HasPrefix(c.Object, "TrustBundle ")
	})
}

// undo says how to go back from a stage.
func (e *entry) undo() string {
	switch {
	case e.Phase == planner.Settled:
		return "revert the commit"
	case e.isStolen:
		return fmt.Sprintf("do not: a revert would trust %s again, which is compromised; if %s will not do, name another key", e.From, e.To)
	case e.Phase == planner.Retire:
		return e.undoRetire()
	case e.From == "":
		return "revert the commit: " + e.goesAgain()
	}
	switch e.Phase {
	case planner.Introduce:
		return "revert the commit: nobody trusts " + e.key + " yet; " + e.goesAgain()
	case planner.Distribute:
		return "revert the commit: issuers never moved; " + e.goesAgain()
	case planner.Switch:
		return fmt.Sprintf("revert the commit: issuers go back to %s at once, which everybody still trusts; %s", e.From, e.goesAgain())
	}
	return fmt.Sprintf("revert the commit: issuers go back to %s at once, leaves that had moved are issued anew by it; then %s", e.From, e.goesAgain())
}

// goesAgain says what a revert makes of the stage's key.
func (e *entry) goesAgain() string {
	if e.stays {
		return e.key + " stays, as Git had it"
	}
	return e.key + " goes again, once nobody uses it, and its name is used up"
}

func (e *entry) undoRetire() string {
	isSecret := func(c Change) bool { return c.Verb == simulation.Removed && strings.HasPrefix(c.Object, "Secret ") }
	if !slices.ContainsFunc(e.Changes, isSecret) {
		return fmt.Sprintf("revert the commit: %s is brought back as it came", e.key)
	}
	if e.isIntermediate() {
		return fmt.Sprintf("until its Secret is deleted, revert the commit: issuers go back to %s; after that it cannot come back: name another key", e.key)
	}
	return fmt.Sprintf("until its Secret is deleted, revert the commit: %s is distributed anew, soaks and signs again; after that it cannot come back: name another key", e.key)
}

// gateWords say what is waited for before the next stage begins.
func (e *entry) gateWords() []string {
	var words []string
	for _, gate := range e.gates {
		if text := e.gateWord(gate); text != "" && !slices.Contains(words, text) {
			words = append(words, text)
		}
	}
	return words
}

func (e *entry) gateWord(gate string) string {
	switch gate {
	case "issue":
		return fmt.Sprintf("the certificate of %s is issued", e.key)
	case "skew":
		return fmt.Sprintf("%s has been valid for %s, for clocks that are behind", e.key, brief(length(e.rollover.Skew)))
	case "record":
		if e.Phase == planner.Retire {
			return fmt.Sprintf("Git records that %s is retired", e.key)
		}
		return fmt.Sprintf("the certificate of %s is recorded in Git", e.key)
	case "copies":
		return e.allOf(e.key, "copy holds", "copies hold")
	case "reload":
		return e.allOf("reloaded", "verifiers have", "presenters have")
	case "soak":
		return "soak of " + brief(length(e.rollover.Soak))
	case "issuer", "canary":
		if e.Phase == planner.Retire {
			return fmt.Sprintf("no issuer signs with %s any more", e.key)
		}
		return fmt.Sprintf("a canary through each issuer comes back signed by %s", e.key)
	case "leaf":
		return e.allOf("to "+e.key, "leaf chains", "leaves chain")
	case "anchors":
		return fmt.Sprintf("no copy holds %s", e.key)
	case "drain":
		return fmt.Sprintf("every live chain verifies without %s", e.key)
	case "removal":
		return "its Certificate, Secret and issuer are gone, in this order"
	case "proof":
		return fmt.Sprintf("a canary shows that the Secret holds the key of %s", e.key)
	case "own-ca":
		return "no workload verifies with the ca.crt of a leaf's own Secret"
	case "window":
		return "the next window"
	}
	return "" // what is to be mended, or waits for another authority
}

// counts are the numbers in a rollover's progress: "0 of 2 copies hold 2026; 1 of 3
// verifiers have reloaded".
var counts = regexp.MustCompile(`\d+ of (\d+) (copy holds|copies hold|verifiers have|presenters have|leaf chains|leaves chain)`)

// allOf is "2 of 2 copies hold 2026" by the numbers that the progress told: what it counted
// at most.
func (e *entry) allOf(rest string, words ...string) string {
	most, word := -1, ""
	for _, progress := range e.progress {
		for _, found := range counts.FindAllStringSubmatch(progress, -1) {
			if n, err := strconv.Atoi(found[1]); err == nil && n >= most && slices.Contains(words, found[2]) {
				most, word = n, found[2]
			}
		}
	}
	one := strings.NewReplacer("copies hold", "copy holds", "s have", " has", "leaves chain", "leaf chains").Replace(word)
	switch {
	case most < 0:
		return ""
	case e.assumed:
		return fmt.Sprintf("every %s %s", one, rest)
	case most == 1:
		return fmt.Sprintf("1 of 1 %s %s", one, rest)
	}
	return fmt.Sprintf("%d of %d %s %s", most, most, word, rest)
}

// brief writes a duration in whole seconds, without the units that are zero: 24h, not
// 24h0m0s.
func brief(duration time.Duration) string {
	text := duration.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func length(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
