package main

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/planner"
)

// Each account writes as itself, through one client, and the controller as nobody else.
func TestAccountsAreImpersonated(t *testing.T) {
	var mu sync.Mutex
	var users []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		users = append(users, r.Header.Get("Impersonate-User"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	own, err := client.New(config, client.Options{Scheme: scheme.Scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	h := &hands{config: config, own: own}
	for _, account := range []planner.Ref{{}, {Namespace: "plant", Name: "writer"}, {Namespace: "mill", Name: "writer"}, {Namespace: "plant", Name: "writer"}} {
		cluster, err := h.as(planner.Ref{Namespace: account.Namespace, Name: "fleet"}, account)
		if err != nil {
			t.Fatal(err)
		}
		writer := cluster.(hand).Writer
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
		if err := writer.Delete(t.Context(), namespace); err != nil {
			t.Fatal(err)
		}
		if cluster.(hand).Reader != client.Reader(own) {
			t.Errorf("%s reads as itself", account)
		}
	}
	want := []string{"", "system:serviceaccount:plant:writer", "system:serviceaccount:mill:writer", "system:serviceaccount:plant:writer"}
	if !slices.Equal(users, want) {
		t.Errorf("written as %q, want %q", users, want)
	}
	if len(h.writers) != 2 || config.Impersonate.UserName != "" {
		t.Errorf("%d clients for two accounts; the controller's own is %q", len(h.writers), config.Impersonate.UserName)
	}
}

// The client of an account goes with the last domain that is written as it.
func TestAccountsThatNobodyUsesAreLetGo(t *testing.T) {
	config := &rest.Config{Host: "https://127.0.0.1:1"}
	own, err := client.New(config, client.Options{Scheme: scheme.Scheme, Mapper: meta.NewDefaultRESTMapper(nil)})
	if err != nil {
		t.Fatal(err)
	}
	h := &hands{config: config, own: own}
	a, b := planner.Ref{Namespace: "plant", Name: "a"}, planner.Ref{Namespace: "plant", Name: "b"}
	writer, other := planner.Ref{Namespace: "plant", Name: "writer"}, planner.Ref{Namespace: "plant", Name: "other"}
	as := func(domain, account planner.Ref, want ...planner.Ref) {
		t.Helper()
		if _, err := h.as(domain, account); err != nil {
			t.Fatal(err)
		}
		if got := slices.SortedFunc(maps.Keys(h.writers), planner.Ref.Compare); !slices.Equal(got, want) {
			t.Errorf("the accounts are %v, want %v", got, want)
		}
	}
	as(a, writer, writer)
	as(b, writer, writer)
	as(a, other, other, writer)
	as(b, planner.Ref{}, other)
	as(b, other, other)
	h.dismiss(a)
	as(b, other, other)
	h.dismiss(b)
	h.dismiss(b)
	if len(h.writers)+len(h.accounts) > 0 {
		t.Errorf("kept %v of %v", h.writers, h.accounts)
	}
}
