package inventory

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

var groups = []v1alpha1.DeviceGroup{groupNamed("sensors", v1alpha1.KeysDevice), groupNamed("meters", v1alpha1.KeysCluster)}

// ids are those of the devices that can be used, sorted.
func ids(read *Inventory) []string {
	var all []string
	for device := range read.All() {
		all = append(all, device.String()+" "+string(device.State))
	}
	slices.Sort(all)
	return all
}

func TestReadTellsWhatIsWrongAndReadsTheRest(t *testing.T) {
	good := v1alpha1.DevicePath("sensors", "good")
	at := func(id string) string { return v1alpha1.DevicePath("sensors", id) }
	unsafe := at("SN 47/11")
	for name, test := range map[string]struct {
		files map[string]string
		want  []string // problems
		ids   []string // beside the good one
	}{
		"nothing else":  {nil, nil, nil},
		"what may be":   {map[string]string{"devices/README.md": "x", "devices/sensors/.gitkeep": "", "devices/sensors/00/README.md": ""}, nil, nil},
		"an unsafe id":  {map[string]string{unsafe: active(t, "sensors", "SN 47/11")}, nil, []string{"sensors/SN 47/11 Active"}},
		"blocked":       {map[string]string{at("b"): document("sensors", "b", "  state: Blocked\n")}, nil, []string{"sensors/b Blocked"}},
		"no key of its": {map[string]string{v1alpha1.DevicePath("meters", "m"): document("meters", "m", "")}, nil, []string{"meters/m Active"}},
		"not YAML":      {map[string]string{at("x"): "a: ["}, []string{at("x") + ":1: "}, nil},
		"a field":       {map[string]string{at("x"): document("sensors", "x", "  colour: red\n")}, []string{at("x") + ":6: spec.colour: "}, nil},
		"no request":    {map[string]string{at("x"): document("sensors", "x", "")}, []string{at("x") + ":4: spec.request: is missing"}, nil},
		"two documents": {map[string]string{at("x"): active(t, "sensors", "x") + "---\n" + active(t, "sensors", "x")}, []string{at("x") + ":1: holds 2 documents of reanchor.dev"}, nil},
		"empty":         {map[string]string{at("x"): ""}, []string{at("x") + ":1: holds 0 documents"}, nil},
		"another kind": {
			map[string]string{at("x"): "apiVersion: reanchor.dev/v1alpha1\nkind: IssuerBinding\nmetadata: {name: x}\nspec: {scope: Cluster, authority: a}\n"},
			[]string{at("x") + ":2: kind: IssuerBinding is declared where a Device is expected"},
			nil,
		},
		"another id":    {map[string]string{at("x"): active(t, "sensors", "y")}, []string{at("x") + `:1: metadata.name: device "y" of group sensors lies in ` + at("y") + " and nowhere else"}, nil},
		"another shard": {map[string]string{"devices/sensors/zz/x.yaml": active(t, "sensors", "x")}, []string{`devices/sensors/zz/x.yaml:1: metadata.name: device "x" of group sensors lies in ` + at("x")}, nil},
		"twice":         {map[string]string{"devices/sensors/zz/good.yaml": active(t, "sensors", "good")}, []string{`devices/sensors/zz/good.yaml:1: metadata.name: device "good" of group sensors is declared already (` + good + "): delete this file"}, nil},
		"another group": {map[string]string{at("x"): document("meters", "x", "")}, []string{at("x") + `:1: metadata.name: device "x" of group meters lies in ` + v1alpha1.DevicePath("meters", "x")}, nil},
		"no such group": {map[string]string{"devices/sensor/ab/x.yaml": active(t, "sensor", "x")}, []string{`devices/sensor:1: there is no DeviceGroup "sensor"`}, nil},
		"strange files": {
			map[string]string{"devices/x.yaml": "", "devices/sensors/x.yaml": "", "devices/sensors/aa/x.pem": "", "devices/sensors/aa/b/x.yaml": ""},
			[]string{"devices/sensors/aa/b:1: is a folder", "devices/sensors/aa/x.pem:1: is no file of a device: its name", "devices/sensors/x.yaml:1: is no file of a device: those are", "devices/x.yaml:1: is no file of a device: those are"},
			nil,
		},
		"a shared key": {
			map[string]string{at("x"): document("sensors", "x", withRequest(csr(t, "sensors/good")))},
			[]string{": spec.request: is for the key of another device (", ": spec.request: is for the key of another device ("},
			nil,
		},
		"an id that leads elsewhere": {map[string]string{at("x"): document("sensors", "../x", "  state: Blocked\n")}, []string{at("x") + `:3: metadata.name: "../x" is not the id of a device: it leads elsewhere`}, nil},
		"too large":                  {map[string]string{at("x"): strings.Repeat("#\n", v1alpha1.MaxDeviceDocument)}, []string{at("x") + ":1: has 131072 bytes"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			files := tree(test.files)
			files[good] = &fstest.MapFile{Data: []byte(active(t, "sensors", "good"))}
			read, err := Read(files, ".", groups, nil)
			if err != nil {
				t.Fatal(err)
			}
			problems := read.Problems()
			for i := range max(len(problems), len(test.want)) {
				if i >= len(problems) || i >= len(test.want) || !strings.Contains(problems[i].Error(), test.want[i]) {
					t.Fatalf("problems are\n%s\nwant\n%s", problems, strings.Join(test.want, "\n"))
				}
			}
			want := append([]string{"sensors/good Active"}, test.ids...)
			slices.Sort(want)
			if name == "a shared key" { // of neither it is known whether it is in the right
				want = nil
			}
			if got := ids(read); !slices.Equal(got, want) {
				t.Errorf("devices are %q, want %q", got, want)
			}
		})
	}
}

// A device whose file cannot be used is neither new nor gone.
func TestReadable(t *testing.T) {
	files := tree(map[string]string{
		"site/" + v1alpha1.DevicePath("sensors", "good"): active(t, "sensors", "good"),
		"site/" + v1alpha1.DevicePath("sensors", "bad"):  "a: [",
		"site/devices/gone/ab/x.yaml":                    "",
	})
	read, err := Read(files, "site", groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	for of, want := range map[[2]string]bool{{"sensors", "good"}: true, {"sensors", "bad"}: false, {"sensors", "another"}: true, {"gone", "x"}: false} {
		if got := read.Readable("site", of[0], of[1]); got != want {
			t.Errorf("readable %v: %v, want %v", of, got, want)
		}
	}
}

// hashed is a file system that names what it holds by hashes, and counts what is read.
type hashed struct {
	fstest.MapFS
	hashes map[string]string
	reads  *int
}

func (h hashed) ReadFile(name string) ([]byte, error) {
	*h.reads++
	return h.MapFS.ReadFile(name)
}

func (h hashed) Stat(name string) (fs.FileInfo, error) {
	info, err := h.MapFS.Stat(name)
	return hashedInfo{info, h.hashes[name]}, err
}

func (h hashed) ReadDir(name string) ([]fs.DirEntry, error) {
	listed, err := h.MapFS.ReadDir(name)
	for i, entry := range listed {
		listed[i] = hashedEntry{entry, h.hashes[name+"/"+entry.Name()]}
	}
	return listed, err
}

type hashedInfo struct {
	fs.FileInfo
	hash string
}

func (h hashedInfo) Sys() any { return h.hash }

type hashedEntry struct {
	fs.DirEntry
	hash string
}

func (h hashedEntry) Sys() any { return h.hash }

func TestWhatGitSaysIsTheSameIsNotReadAgain(t *testing.T) {
	one, other := v1alpha1.DevicePath("sensors", "one"), v1alpha1.DevicePath("sensors", "other")
	reads := 0
	files := hashed{tree(map[string]string{one: active(t, "sensors", "one"), other: active(t, "sensors", "other")}), map[string]string{}, &reads}
	name := func(version string, paths ...string) {
		for _, path := range paths {
			for at := path; at != "."; at = parent(at) {
				files.hashes[at] += version
			}
		}
	}
	name("1", one, other)
	read := func(before *Inventory, groups []v1alpha1.DeviceGroup, want int) *Inventory {
		t.Helper()
		reads = 0
		made, err := Read(files, ".", groups, before)
		if err != nil || reads != want || len(made.Problems()) > 0 {
			t.Fatalf("%d files were read, want %d; %v %v", reads, want, made.Problems(), err)
		}
		return made
	}
	first := read(nil, groups, 2)
	if again := read(first, groups, 0); again != first {
		t.Error("what is the same is made anew")
	}
	files.MapFS[one].Data = []byte(document("sensors", "one", "  state: Blocked\n"))
	name("2", one)
	second := read(first, groups, 1)
	if got := ids(second); !slices.Equal(got, []string{"sensors/one Blocked", "sensors/other Active"}) {
		t.Errorf("devices are %q", got)
	}
	changed := slices.Clone(groups)
	changed[0].Spec.Recovery.Quota = 1
	read(second, changed, 2)
}

func parent(path string) string {
	at := strings.LastIndex(path, "/")
	if at < 0 {
		return "."
	}
	return path[:at]
}

// No document makes Read fail, and what it accepts stands where it says.
func FuzzDevice(f *testing.F) {
	f.Add("sensor-0042", active(f, "sensors", "sensor-0042"))
	f.Add("SN 4711", document("sensors", "SN 4711", "  state: Blocked\n"))
	f.Add("../x", "kind: Device\n---\n")
	f.Fuzz(func(t *testing.T, id, text string) {
		file := v1alpha1.DevicePath("sensors", id)
		if !fs.ValidPath(file) {
			t.Fatalf("the id %q leads to the file %q", id, file)
		}
		read, err := Read(tree(map[string]string{file: text}), ".", groups, nil)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for device := range read.All() {
			found++
			if device.File != file || device.ID != id && v1alpha1.EncodeDeviceID(device.ID) != v1alpha1.EncodeDeviceID(id) || v1alpha1.DeviceIDProblem(device.ID) != "" {
				t.Errorf("%s holds device %q", file, device.ID)
			}
		}
		if found+min(len(read.Problems()), 1) != 1 {
			t.Errorf("%d devices and the problems %v", found, read.Problems())
		}
	})
}

// What git hash-object says.
func TestBlobHash(t *testing.T) {
	for content, want := range map[string]string{"": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "hello\n": "ce013625030ba8dba906f756967f9e9ca394464a"} {
		if got := BlobHash([]byte(content)); got != want {
			t.Errorf("%q: %s, want %s", content, got, want)
		}
	}
}

// A file on a disk that was read from Git before is read, and not checked again.
func TestWhatGitHadIsKnownOnADisk(t *testing.T) {
	one, other := v1alpha1.DevicePath("sensors", "one"), v1alpha1.DevicePath("sensors", "other")
	onDisk := tree(map[string]string{one: active(t, "sensors", "one"), other: active(t, "sensors", "other")})
	reads := 0
	inGit := hashed{onDisk, map[string]string{one: BlobHash(onDisk[one].Data), other: BlobHash(onDisk[other].Data)}, &reads}
	before, err := Read(inGit, ".", groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	onDisk[other] = &fstest.MapFile{Data: []byte(document("sensors", "other", "  state: Blocked\n"))}
	after, err := Read(onDisk, ".", groups, before)
	if err != nil || !slices.Equal(ids(after), []string{"sensors/one Active", "sensors/other Blocked"}) {
		t.Fatalf("devices are %q, %v", ids(after), err)
	}
	known := map[*Device]bool{}
	for device := range before.All() {
		known[device] = true
	}
	for device := range after.All() {
		if known[device] != (device.ID == "one") {
			t.Errorf("%s: made of what was read before: %v", device, known[device])
		}
	}
}
