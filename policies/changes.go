package policies

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// change is a field that differs from the planned one, and how.
type change struct{ path, how string }

// String is the change in words: "spec.isCA is false, not true".
func (c change) String() string { return c.path + " " + c.how }

// changes tells in which fields a value differs from the planned one. An absent field
// equals an empty one. Extras, by path, are not looked at.
func changes(path string, planned, found any, extras ...string) []change {
	want, isMapping := planned.(map[string]any)
	if !isMapping {
		return changedValue(path, planned, found)
	}
	got, isMapping := found.(map[string]any)
	if found != nil && !isMapping {
		return []change{{path, "is not a mapping"}}
	}
	var changed []change
	for _, name := range fieldsOf(want, got) {
		if at := path + "." + name; !slices.Contains(extras, at) {
			changed = append(changed, changes(at, want[name], got[name], extras...)...)
		}
	}
	return changed
}

// fieldsOf are the names of the fields that either has, sorted.
func fieldsOf(a, b map[string]any) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}

func changedValue(path string, planned, found any) []change {
	switch {
	case equal(planned, found):
		return nil
	case isEmpty(planned):
		return []change{{path, "is added"}}
	case isEmpty(found):
		return []change{{path, "is missing, it was " + show(planned)}}
	}
	return []change{{path, fmt.Sprintf("is %s, not %s", show(found), show(planned))}}
}

// equal compares what YAML may write in more than one way: 1h and 60m, 384 and
// 384.0.
func equal(planned, found any) bool {
	if isEmpty(planned) && isEmpty(found) || reflect.DeepEqual(planned, found) {
		return true
	}
	if want, ok := durationOf(planned); ok {
		got, ok := durationOf(found)
		return ok && got == want
	}
	number, isNumber := planned.(int64)
	float, isFloat := found.(float64)
	return isNumber && isFloat && float == float64(number)
}

func durationOf(value any) (time.Duration, bool) {
	text, _ := value.(string)
	duration, err := time.ParseDuration(text)
	return duration, err == nil
}

// isEmpty reports what says nothing. False and zero do say something: the default
// of a field may be another.
func isEmpty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

// shownLength bounds what a message repeats of a manifest.
const shownLength = 60

// show repeats a value of a manifest in short, but nothing of a key that somebody put there.
func show(value any) string {
	text := fmt.Sprint(value)
	if firstMaterial(text) != "" {
		return "a private key"
	}
	if runes := []rune(text); len(runes) > shownLength {
		text = string(runes[:shownLength]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
