package report

import (
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reanchor/reanchor/planner/forecast"
)

// folderName is what a domain's folder is called.
func folderName(folder string) string {
	if folder == "" || folder == "." {
		return "the whole repository"
	}
	return folder
}

// number is 50,000.
func number(n int) string {
	digits := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// counted is "1 leaf" or "2 leaves".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// duration is how people write one: 12s, 10m, 24h, 30 days. Parts of a second tell nobody
// anything beside whole ones.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d > time.Second {
		d = d.Truncate(time.Second)
	}
	if d >= 2*day && d%day == 0 {
		return number(int(d/day)) + " days"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// moment is a time, and date a day, in UTC.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
func date(t time.Time) string   { return t.UTC().Format(time.DateOnly) }

// list is "a, b and c".
func list(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// some names the first of several: "a, b and 212 more".
func some(names []string, limit int, write func(string) string) string {
	var parts []string
	for i, name := range names {
		if i == limit {
			parts = append(parts, number(len(names)-limit)+" more")
			break
		}
		parts = append(parts, write(name))
	}
	return list(parts)
}

// plural of a kind.
func plural(kind string) string {
	switch {
	case strings.HasSuffix(kind, "y"):
		return strings.TrimSuffix(kind, "y") + "ies"
	case strings.HasSuffix(kind, "s"):
		return kind + "es"
	}
	return kind + "s"
}

// kindOf splits "Certificate plant/broker".
func kindOf(object string) (kind, name string) {
	kind, name, found := strings.Cut(clean(object, longestText), " ")
	if !found {
		return "object", kind
	}
	return kind, name
}

// short is a commit as people name it: "3f1c2a9b04".
func short(commit string) string {
	if _, hash, found := strings.Cut(commit, ":"); found {
		commit = hash
	}
	return string([]rune(commit)[:min(10, utf8.RuneCountInString(commit))])
}

// revisionName is what a revision is called: the branch that was asked for, or its commit.
func revisionName(r forecast.Revision) string {
	return cmp.Or(r.Name, short(r.Commit), "nothing")
}
