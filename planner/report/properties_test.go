package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/report"
	"github.com/reanchor/reanchor/planner/simulation"
)

// fragments that texts are made of: what breaks out of something, and what is long.
var fragments = []string{
	"a", "Certificate ", "fleet-root", " ", "\n", "\r\n", "\t", "`", "```", "~~~", "*", "**", "_", "[x](y)", "![", "<b>", "</details>", "<!--", "-->",
	"&lt;", "&#60;", "|", "\\", "\\|", "# ", "1. ", "- ", "> ", "$x$", "@all", "#1", "/merge", "https://evil.example", "\x1b[31m", "\x00", "\u202e", "\u200b", "\u2028",
	"\xff", "😀", "日本", "\"", "end", "style x", "%%", ";", strings.Repeat("x", 500), strings.Repeat("<", 500), strings.Repeat("`", 300),
}

var texts = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(fragments), 0, 6).Draw(t, "fragments"), "")
})

// oneOf are the values of an enumeration.
func oneOf[T any](values ...T) *rapid.Generator[any] { return rapid.SampledFrom(values).AsAny() }

// times of the years that JSON has.
var times = rapid.Custom(func(t *rapid.T) time.Time {
	return time.Unix(rapid.Int64Range(0, 4102444800).Draw(t, "seconds"), 0).UTC()
})

// anything is any forecast: with the verbs, verdicts and phases that there are, or with any.
func anything(known bool) *rapid.Generator[forecast.Forecast] {
	config := rapid.MakeConfig{
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[time.Time]():     times.AsAny(),
			reflect.TypeFor[time.Duration](): rapid.Int64Range(-1<<52, 1<<52).AsAny(), // what JSON's readers hold exactly
		},
		Kinds: map[reflect.Kind]*rapid.Generator[any]{reflect.String: texts.AsAny(), reflect.Int: rapid.IntRange(-1<<40, 1<<40).AsAny()},
	}
	if known {
		config.Types[reflect.TypeFor[forecast.Verdict]()] = oneOf(forecast.Nothing, forecast.Safe, forecast.Waits, forecast.DropsSome, forecast.Blocked)
		config.Types[reflect.TypeFor[simulation.Verb]()] = oneOf(simulation.Made, simulation.Changed, simulation.Removed, simulation.Reissued, simulation.Restarted, simulation.Proved)
		config.Types[reflect.TypeFor[planner.Phase]()] = oneOf(planner.Introduce, planner.Distribute, planner.Switch, planner.Reissue, planner.Retire)
	}
	one := rapid.MakeCustom[forecast.Forecast](config)
	return rapid.Custom(func(t *rapid.T) forecast.Forecast {
		f := one.Draw(t, "forecast")
		if rapid.IntRange(0, 9).Draw(t, "size") == 0 {
			f.Stages = slices.Repeat(f.Stages, rapid.IntRange(0, 60).Draw(t, "stages"))
			f.Trust = slices.Repeat(f.Trust, rapid.IntRange(0, 60).Draw(t, "bundles"))
			f.Diffs = slices.Repeat(f.Diffs, rapid.IntRange(0, 200).Draw(t, "diffs"))
		}
		return f
	})
}

func TestEveryCommentFitsAndHoldsNoMarkup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anything(false).Draw(t, "forecast")
		page := report.Markdown(f)
		if len(page) >= report.Limit {
			t.Fatalf("%d bytes", len(page))
		}
		if report.MarkerOf(page) != report.Marker(f.Folder) {
			t.Fatalf("the comment begins %.100q", page)
		}
		harmless(t, page)
	})
}

// FuzzMarkdown puts a text wherever a forecast holds one.
func FuzzMarkdown(f *testing.F) {
	f.Add(evil)
	for _, fragment := range fragments {
		f.Add(fragment)
	}
	f.Fuzz(func(t *testing.T, text string) {
		harmless(t, report.Markdown(hostile(text)))
		printable(t, report.Table(hostile(text), 80, false))
	})
}

// fataler is a test, or a property.
type fataler interface{ Fatalf(string, ...any) }

// shapes are what a line of a comment may be, outside of code and without it: our own words
// and tags, in which nothing of a document has a meaning.
var shapes = regexp.MustCompile(`^(?:` + strings.Join([]string{
	``, `<!-- reanchor-plan: [^ <>]+ -->`, `## [^<>]*`, `### [A-Z0-9][^<>]*`, `#### -?[0-9]+\. [^<>]*`,
	`\*\*[^<>]*`, `- [^<>]*`, `  - [^<>]*`, `\|[^<>]*\|`, `Bundle [^<>]*`, `In stage [^<>]*`, `Nothing changes [^<>]*`, `The rollover waits [^<>]*`, `It is stale [^<>]*`,
	`[A-Z][a-z ,]* [^<>]*`, `<details><summary>[^<>]*</summary>`, `</details>`, `> \*\*Cut to fit [^<>]*`,
}, "|") + `)$`)

// bare is what has a meaning, or a name, where it is not ours.
var bare = regexp.MustCompile(`\[|\]|\\|~|_|\$|@[0-9A-Za-z]|#[0-9]|://|\*\*\*`)

// harmless checks a comment line by line, as a parser of Markdown would read it.
func harmless(t fataler, page string) {
	if !utf8.ValidString(page) || strings.ContainsFunc(page, func(r rune) bool { return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf) }) {
		t.Fatalf("there are characters that are not seen in\n%q", page)
	}
	fence := ""
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case fence != "" && line == fence:
			fence = ""
		case fence != "":
			inFence(t, line, fence)
		case strings.HasPrefix(line, "```"):
			fence = strings.TrimRight(line, "abcdefghijklmnopqrstuvwxyz")
		default:
			outside(t, line)
		}
	}
	if fence != "" {
		t.Fatalf("a block of code does not end in\n%s", page)
	}
}

// inFence must not end a block, nor command a forge.
func inFence(t fataler, line, fence string) {
	if strings.Contains(line, fence) || strings.HasPrefix(line, "/") {
		t.Fatalf("the line %q in a block that began with %s", line, fence)
	}
}

func outside(t fataler, line string) {
	left := withoutCode(t, line)
	if !shapes.MatchString(left) {
		t.Fatalf("the line %q is none of ours", line)
	}
	if strings.HasPrefix(line, "<") {
		return // of the marker's and the details' own shapes
	}
	if found := bare.FindString(entity.ReplaceAllString(left, " ")); found != "" {
		t.Fatalf("%q is bare in the line %q", found, line)
	}
	if cells := strings.Count(left, "|"); cells > 0 && cells != 4 && cells != 6 {
		t.Fatalf("%d bars in the line %q", cells, line)
	}
}

var entity = regexp.MustCompile(`&(?:#[0-9]+|amp|lt|gt|quot);`)

var runs = regexp.MustCompile("`+")

// withoutCode takes the spans of code out of a line (CommonMark, section 6.1).
func withoutCode(t fataler, line string) string {
	var left string
	for {
		opening := runs.FindStringIndex(line)
		if opening == nil {
			return left + line
		}
		fence := line[opening[0]:opening[1]]
		left, line = left+line[:opening[0]]+"code", line[opening[1]:]
		closing := slices.IndexFunc(runs.FindAllStringIndex(line, -1), func(run []int) bool { return run[1]-run[0] == len(fence) })
		if closing < 0 {
			t.Fatalf("a span of code does not end before %q", line)
		}
		line = line[runs.FindAllStringIndex(line, -1)[closing][1]:]
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestEveryTableFitsItsTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, width := anything(false).Draw(t, "forecast"), rapid.IntRange(60, 160).Draw(t, "width")
		table := report.Table(f, width, false)
		printable(t, table)
		if painted := report.Table(f, width, true); escapes.ReplaceAllString(painted, "") != table {
			t.Fatalf("colour changes more than colours:\n%q\n%q", painted, table)
		}
		for line := range strings.Lines(table) {
			words := strings.Fields(line)
			if long := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); long > width && utf8.RuneCountInString(words[len(words)-1]) < width/5 {
				t.Fatalf("%d columns of %d, which breaking would mend: %q", long, width, line)
			}
		}
	})
}

func printable(t fataler, table string) {
	if !utf8.ValidString(table) || strings.ContainsFunc(table, func(r rune) bool { return r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf) }) {
		t.Fatalf("a terminal would obey something in\n%q", table)
	}
}

// schema is the one that is published.
func schema(t *testing.T) *validate.SchemaValidator {
	t.Helper()
	data, err := os.ReadFile("../../docs/reference/plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var published spec.Schema
	if err := json.Unmarshal(data, &published); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(`"$id": "`+forecast.SchemaID+`"`)) {
		t.Fatalf("the schema is not called %s", forecast.SchemaID)
	}
	return validate.NewSchemaValidator(&published, nil, "", strfmt.Default)
}

func TestEveryJSONIsAsTheSchemaSays(t *testing.T) {
	published := schema(t)
	rapid.Check(t, func(t *rapid.T) {
		encoded, err := report.JSON(anything(true).Draw(t, "forecast"))
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(encoded, &value); err != nil {
			t.Fatal(err)
		}
		if result := published.Validate(value); !result.IsValid() {
			t.Fatalf("%v in\n%s", result.Errors, encoded)
		}
		var again forecast.Forecast
		strict := json.NewDecoder(bytes.NewReader(encoded))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&again); err != nil {
			t.Fatal(err)
		}
		if twice, err := report.JSON(again); err != nil || !bytes.Equal(twice, bytes.ReplaceAll(encoded, []byte(`\ufffd`), []byte("\ufffd"))) {
			t.Fatalf("read and written again (%v) it is\n%s\nnot\n%s", err, twice, encoded)
		}
	})
}

func TestTheSchemaRefusesWhatIsNoPlan(t *testing.T) {
	published := schema(t)
	for name, change := range map[string]func(map[string]any){
		"a verdict that is none": func(plan map[string]any) { plan["verdict"] = "Fine" },
		"another format":         func(plan map[string]any) { plan["schema"] = "https://reanchor.dev/schemas/plan.v2.json" },
		"no head":                func(plan map[string]any) { delete(plan, "head") },
		"stages that are null":   func(plan map[string]any) { plan["stages"] = nil },
		"a field that is none":   func(plan map[string]any) { plan["colour"] = "red" },
		"a verb that is none": func(plan map[string]any) {
			plan["stages"].([]any)[0].(map[string]any)["changes"].([]any)[0].(map[string]any)["verb"] = "eaten"
		},
		"half a fingerprint": func(plan map[string]any) {
			plan["trust"].([]any)[0].(map[string]any)["before"].([]any)[0].(map[string]any)["fingerprint"] = "25c0ffee"
		},
	} {
		t.Run(name, func(t *testing.T) {
			encoded, err := report.JSON(rootRoll())
			if err != nil {
				t.Fatal(err)
			}
			var plan map[string]any
			if err := json.Unmarshal(encoded, &plan); err != nil {
				t.Fatal(err)
			}
			if change(plan); published.Validate(plan).IsValid() {
				t.Error("the schema takes it")
			}
		})
	}
}
