//go:build e2e

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/fixtures/stage"
)

const aioRoot = "../../fixtures/aio-root"

// TestAgainstARealCluster runs the scripts of testdata/e2e before a rollover and after it,
// and watches it with reanchor status. What is read is read as an account that the
// ClusterRole reanchor-observer was bound to, and nothing else.
func TestAgainstARealCluster(t *testing.T) {
	ctx, s := stage.ForTest(t, 4*time.Minute, stage.Options{Fixture: aioRoot})
	if err := s.Begin(ctx, stage.Keys{"aio-root": "primary"}); err != nil {
		t.Fatal(err)
	}
	s.ExpectRecord(t, ctx, "anchors/aio-root/primary.pem")
	site := t.TempDir()
	if err := os.CopyFS(site, os.DirFS(filepath.Join(aioRoot, "repository"))); err != nil {
		t.Fatal(err)
	}
	writeRecord(t, ctx, s, site)
	vars := []string{"SITE=" + site, "ROLLOVER=" + rolloverOf(t), "KUBECONFIG=" + s.Cluster.Kubeconfig(), "OBSERVER=" + observer(t, ctx, s)}
	if !t.Run("settled", func(t *testing.T) { runScript(t, "settled", vars) }) {
		return
	}
	watchARollover(t, ctx, s)
	writeRecord(t, ctx, s, site)
	t.Run("rolled", func(t *testing.T) { runScript(t, "rolled", vars) })
}

func runScript(t *testing.T, name string, vars []string) {
	testscript.Run(t, testscript.Params{
		Files: []string{filepath.Join("testdata", "e2e", name+".txtar")},
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, vars...)
			return nil
		},
	})
}

func rolloverOf(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(aioRoot, "rollover", "1-secondary.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// observer is the kubeconfig of an account that may observe.
func observer(t *testing.T, ctx context.Context, s *stage.Stage) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: stage.Domain.Namespace, Name: "pipeline"}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "pipeline-observes"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reanchor-observer"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}},
	}
	if err := s.Client.Create(ctx, account); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Create(ctx, binding); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := s.Cluster.ServiceAccountKubeconfig(ctx, account.Namespace, account.Name)
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// writeRecord puts what Git remembers of the keys beside the documents, as a clone has it.
func writeRecord(t *testing.T, ctx context.Context, s *stage.Stage, site string) {
	t.Helper()
	record, err := s.Record(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(site, "anchors")); err != nil {
		t.Fatal(err)
	}
	for _, key := range record.Keys {
		path := filepath.Join(site, filepath.FromSlash(key.Path()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, key.Certificate.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// watchARollover commits one and expects that reanchor status --watch tells of it to its
// end.
func watchARollover(t *testing.T, ctx context.Context, s *stage.Stage) {
	t.Helper()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var told, talk bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(watching, []string{"reanchor", "status", "--kubeconfig", s.Cluster.Kubeconfig(), "-n", stage.Domain.Namespace, "--watch"}, &told, &talk)
	}()
	revision, err := s.Commit(ctx, "1-secondary", "Roll over")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx, revision, stage.Keys{"aio-root": "secondary"}); err != nil {
		t.Fatal(err)
	}
	s.ExpectRecord(t, ctx, "anchors/aio-root/retired/primary.pem", "anchors/aio-root/secondary.pem")
	stop()
	if err := <-ended; err != nil || talk.Len() > 0 {
		t.Errorf("%v, %s", err, talk.String())
	}
	for _, phase := range []string{"Introduce", "Distribute", "Switch", "Reissue", "Retire"} {
		if !strings.Contains(told.String(), "reanchor-system/fixture  "+phase) {
			t.Errorf("nothing was told of %s", phase)
		}
	}
	if t.Failed() {
		t.Logf("told:\n%s", told.String())
	}
}
