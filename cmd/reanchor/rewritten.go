package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/reconciler"
	"github.com/reanchor/reanchor/registrar"
)

// known is what the cluster tells of branches: how far the controller has read them, and what
// a person accepts in the place of a lost history.
type known struct{ newest atomic.Pointer[told] }

// told is what the cluster tells now.
type told struct {
	domain *v1alpha1.TrustDomain
	// spent is what the controller had read by an acceptance before this process began, until
	// the annotation says something else: it is no permit to go back to it later.
	spent string
}

// read what the cluster tells now.
func (k *known) read(domain *v1alpha1.TrustDomain) {
	now := &told{domain: domain, spent: domain.Status.LastAcceptedRevision}
	if before := k.newest.Load(); before != nil {
		now.spent = before.spent
	}
	if now.accepts() != now.spent {
		now.spent = ""
	}
	k.newest.Store(now)
}

// accepts is what the annotation says by which a person accepts a revision.
func (t *told) accepts() string {
	return strings.TrimSpace(t.domain.Annotations[v1alpha1.AnnotationAcceptRevision])
}

func (k *known) after(branch string) gitsource.After {
	now := k.newest.Load()
	after := gitsource.After(reconciler.AfterOf(now.domain, branch))
	if after.Accept == now.spent {
		after.Accept = ""
	}
	return after
}

// accepts is what a person accepts now, used up or not.
func (k *known) accepts() string {
	if now := k.newest.Load(); now != nil {
		return now.accepts()
	}
	return ""
}

// lineal pulls a branch as long as it goes on from what was pulled before.
type lineal struct {
	repository *gitsource.Repository
	after      func() gitsource.After

	mutex sync.Mutex
	last  string
	// used is what was accepted and read: it is no permit to go back to it, until something
	// else is accepted, or nothing.
	used string
}

// Pull the newest, or say that the history was rewritten.
func (l *lineal) Pull(ctx context.Context) (*gitsource.Snapshot, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	after := l.after()
	after.Revision = cmp.Or(l.last, after.Revision)
	if after.Accept != l.used {
		l.used = ""
	} else {
		after.Accept = ""
	}
	snapshot, err := l.repository.PullAfter(ctx, after)
	if err == nil {
		l.last = snapshot.Revision()
	}
	if err == nil && l.last == after.Accept {
		l.used = l.last
	}
	return snapshot, err
}

// rewrites tells people of a rewritten history: once for each head, until there is none.
type rewrites struct {
	domain  *v1alpha1.TrustDomain
	known   *known
	events  record.EventRecorder
	metrics *registrar.Metrics
	log     logr.Logger
	told    string
}

// see what came of looking at the branches.
func (r *rewrites) see(err error) {
	rewritten, is := errors.AsType[*gitsource.RewrittenError](err)
	r.metrics.Rewritten(is)
	if !is {
		if err == nil {
			r.told = ""
		}
		return
	}
	if r.told == rewritten.Is {
		return
	}
	r.told = rewritten.Is
	advice := r.advice(rewritten)
	r.log.Error(rewritten, "devices that were registered may be lost: nothing new is registered until this is resolved", "resolve", advice)
	r.events.Event(r.domain, corev1.EventTypeWarning, reconciler.ReasonHistoryRewritten, advice)
}

// advice names what may be lost, and both ways out.
func (r *rewrites) advice(rewritten *gitsource.RewrittenError) string {
	first := ""
	if r.known.accepts() == rewritten.Is {
		first = " (that was accepted once already, and counts no more: remove the annotation first)"
	}
	return fmt.Sprintf("the registration endpoint had %s, and the branch is at %s, which does not go on from it: devices registered in between may be lost, and nothing new is registered. "+
		"Put the branch back; or look at what is missing, and accept exactly this head: kubectl annotate --overwrite trustdomain -n %s %s %s=%s%s",
		rewritten.Was, rewritten.Is, r.domain.Namespace, r.domain.Name, v1alpha1.AnnotationAcceptRevision, rewritten.Is, first)
}
