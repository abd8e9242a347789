package main

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/prober"
	"github.com/reanchor/reanchor/reconciler"
	"github.com/reanchor/reanchor/renderer"
)

// parts of a turn, from the packages that make them.
func parts(mgr ctrl.Manager, flags controllerFlags) reconciler.Parts {
	hands := &hands{config: mgr.GetConfig(), own: mgr.GetClient(), clusterResourceNamespace: flags.clusterResourceNamespace}
	return reconciler.Parts{
		Source: &source{folder: flags.storagePath},
		LoadRecord: func(files fs.FS, folder string) (planner.Record, error) {
			return renderer.LoadRecord(files, folder, renderer.Limits{})
		},
		Load: func(files fs.FS, folder string, record planner.Record) (reconciler.Loaded, error) {
			return load(files, folder, loadOptions(flags.clusterResourceNamespace, record))
		},
		Observe: func(ctx context.Context, reader client.Reader, domain planner.Ref, desired planner.Desired, since []planner.Gate) (reconciler.Observation, error) {
			observer := applier.Observer{Reader: reader, APIReader: mgr.GetAPIReader(), ClusterResourceNamespace: flags.clusterResourceNamespace, Now: time.Now}
			seen, err := observer.Look(ctx, domain, desired, since)
			return reconciler.Observation{Observed: seen.Observed, Foreign: words(seen.Foreign)}, err
		},
		Plan:      planner.Next,
		Forecast:  forecast.Run,
		Probe:     (&prober.Prober{}).Probe,
		CheckFile: policies.CheckFile,
		Check:     policies.Check,
		Cluster:   hands.as,
		Dismiss:   hands.dismiss,
	}
}

// loaded is what the renderer loaded, as the reconciler takes it.
type loaded struct{ *renderer.Loaded }

// loadOptions are those with which every command loads a domain's documents.
func loadOptions(clusterResourceNamespace string, record planner.Record) renderer.Options {
	return renderer.Options{ClusterResourceNamespace: clusterResourceNamespace, Record: record, CheckPolicies: policies.Problems}
}

func load(files fs.FS, folder string, options renderer.Options) (reconciler.Loaded, error) {
	read, err := renderer.Load(files, folder, options)
	if err != nil {
		return nil, err
	}
	return loaded{read}, nil
}

// Desired is what the documents declare.
func (l loaded) Desired() planner.Desired { return l.Loaded.Desired }

// Documents are all of them, the policies too.
func (l loaded) Documents() []v1alpha1.Object { return l.Loaded.Documents }

// Warnings are those of the documents.
func (l loaded) Warnings() []string { return words(l.Loaded.Warnings) }

// words of things that print themselves.
func words[T any](things []T) []string {
	var all []string
	for _, thing := range things {
		all = append(all, fmt.Sprint(thing))
	}
	return all
}
