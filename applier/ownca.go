package applier

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// What a pod template shows of the ca.crt of a Secret that it gets:
//
//	                      Named                       Visible           Hidden
//	volume with items     one is ca.crt               -                 none is
//	volume mounted whole  its path stands in a text   otherwise         -
//	volume by subPath     ca.crt                      it is expanded    another file
//	environment           the key ca.crt              envFrom           another key
//
// The texts are the command, arguments, variables, probes and hooks of the container
// that mounts the volume. A volume that nothing mounts is Visible.

// ownCAKey is the key under which cert-manager writes the CA into a leaf's Secret.
const ownCAKey = "ca.crt"

// most is the one of two that shows more.
func most(a, b planner.OwnCA) planner.OwnCA {
	rising := []planner.OwnCA{planner.OwnCAHidden, planner.OwnCAVisible, planner.OwnCANamed}
	return rising[max(slices.Index(rising, a), slices.Index(rising, b))]
}

// ownCA is what a part of a volume shows if it is mounted in that way.
func (p part) ownCA(mounted way) planner.OwnCA {
	if len(p.items) == 0 {
		return mounted.ownCA
	}
	if slices.ContainsFunc(p.items, func(item corev1.KeyToPath) bool { return item.Key == ownCAKey }) {
		return planner.OwnCANamed
	}
	return planner.OwnCAHidden
}

func shownOfKey(key string) planner.OwnCA {
	if key == ownCAKey {
		return planner.OwnCANamed
	}
	return planner.OwnCAHidden
}

// shownWithin is what a subPath shows of a volume that holds ca.crt. What one with
// variables becomes is not known before the container starts.
func shownWithin(subPath string) planner.OwnCA {
	switch within := path.Clean(subPath); {
	case within == ".", strings.Contains(within, "$("):
		return planner.OwnCAVisible
	default:
		return shownOfKey(within)
	}
}

// namesFile reports whether a text of the container names a file by its absolute path.
func namesFile(container corev1.Container, file string) bool {
	return slices.ContainsFunc(textsOf(container), func(text string) bool { return namesPath(text, file) })
}

// textsOf are the texts in which a container can be told where a file is.
func textsOf(container corev1.Container) []string {
	texts := slices.Concat(container.Command, container.Args)
	for _, variable := range container.Env {
		texts = append(texts, variable.Value)
	}
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe, container.StartupProbe} {
		if probe != nil && probe.Exec != nil {
			texts = append(texts, probe.Exec.Command...)
		}
	}
	if container.Lifecycle == nil {
		return texts
	}
	for _, hook := range []*corev1.LifecycleHandler{container.Lifecycle.PostStart, container.Lifecycle.PreStop} {
		if hook != nil && hook.Exec != nil {
			texts = append(texts, hook.Exec.Command...)
		}
	}
	return texts
}

// idleSlashes are those that lead nowhere: "//" and "/./".
var idleSlashes = regexp.MustCompile(`/(\.?/)+`)

// namesPath reports whether an absolute path stands in a text by itself: neither as the
// end of a longer path nor as the beginning of another name.
func namesPath(text, file string) bool {
	text = idleSlashes.ReplaceAllLiteralString(text, "/")
	for from := 0; ; {
		at := strings.Index(text[from:], file)
		if at < 0 {
			return false
		}
		start := from + at
		if before, after := text[:start], text[start+len(file):]; !endsInPath(before) && !goesOn(after) {
			return true
		}
		from = start + 1
	}
}

// endsInPath reports whether a text ends in a part of a path: "--ca=/opt", but neither
// "--ca=" nor "-I".
func endsInPath(text string) bool {
	last := text[1+strings.LastIndexFunc(text, isOutsidePath):]
	return strings.Contains(last, "/")
}

// goesOn reports whether a text begins with more of the name before it.
func goesOn(text string) bool {
	return text != "" && strings.IndexFunc(text, isOutsidePath) != 0
}

// isOutsidePath reports whether a path hardly has that character in it.
func isOutsidePath(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+~@%", r)
}

// ownCAUnused reports whether the owner of a workload says, on it or on its pod
// template, that it does not verify with what is shown.
func ownCAUnused(annotations ...map[string]string) bool {
	return slices.ContainsFunc(annotations, func(a map[string]string) bool {
		return a[v1alpha1.AnnotationOwnCA] == v1alpha1.OwnCAUnused
	})
}
