package gitsource

import (
	"fmt"
	"io/fs"
	"testing"
)

// benchmarkFiles is the size of the repository that is measured.
const benchmarkFiles = 10_000

func BenchmarkUnchangedPull(b *testing.B) {
	server := newServer(b)
	server.repository(b, "pki.git", manyFiles(benchmarkFiles))
	repository := open(b, server.remote("pki.git"))
	pull(b, repository)
	b.ReportAllocs()
	for b.Loop() {
		pull(b, repository)
	}
}

// BenchmarkUnchangedFilePull leaves out the server and the network.
func BenchmarkUnchangedFilePull(b *testing.B) {
	repository := open(b, newOriginWith(b, manyFiles(benchmarkFiles)).remote())
	pull(b, repository)
	b.ReportAllocs()
	for b.Loop() {
		pull(b, repository)
	}
}

func BenchmarkClone(b *testing.B) {
	server := newServer(b)
	server.repository(b, "pki.git", manyFiles(benchmarkFiles))
	for b.Loop() {
		pull(b, open(b, server.remote("pki.git")))
	}
}

func BenchmarkPullOneChange(b *testing.B) {
	server := newServer(b)
	origin := server.repository(b, "pki.git", manyFiles(benchmarkFiles))
	repository := open(b, server.remote("pki.git"))
	pull(b, repository)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		origin.commit(b, map[string]string{"changed": fmt.Sprint(i)})
		b.StartTimer()
		pull(b, repository)
	}
}

// hundredFiles are spread over a hundred folders, each time others.
func hundredFiles(round int) map[string][]byte {
	files := map[string][]byte{}
	for i := range 100 {
		files[fmt.Sprintf("devices/group/%02x/new-%d-%d.yaml", i, round, i)] = fmt.Appendf(nil, "kind: Device\n# %d\n", round)
	}
	return files
}

func BenchmarkPushHundredFiles(b *testing.B) {
	for _, count := range []int{100, benchmarkFiles, 5 * benchmarkFiles} {
		for _, scheme := range []string{"https", "file"} {
			b.Run(fmt.Sprintf("%s/of %d", scheme, count), func(b *testing.B) {
				server := newServer(b)
				origin := server.repository(b, "pki.git", manyFiles(count))
				remote := server.remote("pki.git")
				if scheme == "file" {
					remote = origin.remote()
				}
				repository := open(b, remote)
				base := pull(b, repository)
				for round := 0; b.Loop(); round++ {
					base = push(b, repository, base, hundredFiles(round))
				}
			})
		}
	}
}

// BenchmarkEditHundredFiles is the part of a push that is done here: the trees, the
// commit and the pack.
func BenchmarkEditHundredFiles(b *testing.B) {
	repository := open(b, newOriginWith(b, manyFiles(benchmarkFiles)).remote())
	base := pull(b, repository)
	for round := 0; b.Loop(); round++ {
		decide := func(*Snapshot) (Commit, error) { return testCommit(hundredFiles(round)), nil }
		if _, err := repository.propose(b.Context(), base.commit.Hash, decide); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChangedHundredFiles(b *testing.B) {
	repository := open(b, newOriginWith(b, manyFiles(benchmarkFiles)).remote())
	before := pull(b, repository)
	after := push(b, repository, before, hundredFiles(0))
	for b.Loop() {
		if changed, err := after.Changed(before); err != nil || len(changed) != 100 {
			b.Fatalf("%d files changed (%v)", len(changed), err)
		}
	}
}

func BenchmarkReadEveryFile(b *testing.B) {
	snapshot := pull(b, open(b, newOriginWith(b, manyFiles(benchmarkFiles)).remote()))
	for b.Loop() {
		err := fs.WalkDir(snapshot.FS(), ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = fs.ReadFile(snapshot.FS(), path)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
