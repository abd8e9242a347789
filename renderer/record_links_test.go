package renderer

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/reanchor/reanchor/planner"
)

// withLinks are the files of a record of two roots, with others beside.
func withLinks(t *testing.T, others map[string][]byte) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{
		"anchors/root/retired/2025.pem": {Data: ca(t, "Root 2025").PEM()},
		"anchors/root/2026.pem":         {Data: ca(t, "Root 2026").PEM()},
	}
	for name, data := range others {
		tree["anchors/root/links/"+name] = &fstest.MapFile{Data: data}
	}
	return tree
}

func TestLoadLinks(t *testing.T) {
	link := below(t, "Root 2026", "Root 2025")
	for name, want := range map[string]string{"2026.2025.pem": "anchors/root/links/2026.2025.pem", "withdrawn/2026.2025.pem": "anchors/root/links/withdrawn/2026.2025.pem"} {
		record, err := LoadRecord(withLinks(t, map[string][]byte{name: link.PEM(), "README.md": nil}), "", Limits{})
		if err != nil || len(record.Keys) != 2 || len(record.Links) != 1 {
			t.Fatalf("loaded %+v, with the error %v", record, err)
		}
		if got := record.Links[0]; got.Path() != want || got.Withdrawn != strings.Contains(name, "withdrawn") || !got.Certificate.Equal(link) {
			t.Errorf("loaded the link %+v, want %s", got, want)
		}
		bridges := record.LinksTo(ca(t, "Root 2025"), now)
		if withdrawn := record.Links[0].Withdrawn; withdrawn != (len(bridges) == 0) || !withdrawn && bridges[0].Root.Name != "2026" {
			t.Errorf("with %s there are the bridges %v", name, bridges)
		}
	}
}

func TestLoadLinksRefuses(t *testing.T) {
	link := below(t, "Root 2026", "Root 2025").PEM()
	for name, test := range map[string]struct {
		links map[string][]byte
		want  string
	}{
		"of another key":          {map[string][]byte{"2026.2025.pem": below(t, "Root 2027", "Root 2025").PEM()}, "anchors/root/links/2026.2025.pem:1: is not the key of 2026 signed by 2025: restore the link"},
		"signed by another":       {map[string][]byte{"2026.2025.pem": below(t, "Root 2026", "Root 2024").PEM()}, "anchors/root/links/2026.2025.pem:1: is not the key of 2026 signed by 2025"},
		"the other way round":     {map[string][]byte{"2025.2026.pem": link}, "anchors/root/links/2025.2026.pem:1: is not the key of 2025 signed by 2026"},
		"of a key that is none":   {map[string][]byte{"2027.2025.pem": link}, "anchors/root/links/2027.2025.pem:1: the record does not hold both keys of the link, 2027 and 2025"},
		"no link's name":          {map[string][]byte{"2026.pem": link}, "anchors/root/links/2026.pem:1: is no link of a root to another, <new>.<old>.pem"},
		"three keys' names":       {map[string][]byte{"2026.2025.2024.pem": link}, "anchors/root/links/2026.2025.2024.pem:1: is no link"},
		"another extension":       {map[string][]byte{"2026.2025.crt": link}, "anchors/root/links/2026.2025.crt:1: is no link"},
		"a leaf":                  {map[string][]byte{"2026.2025.pem": ca(t, "leaf", notCA).PEM()}, "anchors/root/links/2026.2025.pem:1: leaf ("},
		"in use and withdrawn":    {map[string][]byte{"2026.2025.pem": link, "withdrawn/2026.2025.pem": link}, "anchors/root/links/2026.2025.pem:1: the link is recorded as withdrawn too"},
		"a deeper folder":         {map[string][]byte{"old/2026.2025.pem": link}, "anchors/root/links/old:1: is no folder of the record: links lie in anchors/root/links, withdrawn ones in anchors/root/links/withdrawn"},
		"a folder below the last": {map[string][]byte{"withdrawn/old/2026.2025.pem": link}, "anchors/root/links/withdrawn/old:1: is no folder of the record"},
	} {
		t.Run(name, func(t *testing.T) {
			record, err := LoadRecord(withLinks(t, test.links), "", Limits{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("loaded %v, with the error %v, want one that says %s", record.Links, err, test.want)
			}
		})
	}
}

// A link stands for no key: what is signed by it ends in a root all the same.
func TestALinkIsNoKeyOfTheRecord(t *testing.T) {
	record, err := LoadRecord(withLinks(t, map[string][]byte{"2026.2025.pem": below(t, "Root 2026", "Root 2025").PEM()}), "", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range record.Keys {
		if !key.Certificate.SelfSigned() {
			t.Errorf("%s is %s", planner.RecordedKey.Path(key), key.Certificate)
		}
	}
}
