package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// turnFlags are the flags of reanchor reconcile, suspend and resume.
type turnFlags struct {
	clusterFlags
	timeout time.Duration
}

func (f *turnFlags) bindTimeout(command *cobra.Command) {
	command.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait for the turn; 0 waits for none")
}

func newReconcile() *cobra.Command {
	var flags turnFlags
	command := &cobra.Command{
		Use:   "reconcile [NAME]",
		Short: "Ask for a turn of a TrustDomain now, and wait for it",
		Long: `Ask for a turn of a TrustDomain now, not at its interval, by the annotation
reconcile.fluxcd.io/requestedAt; wait for it, and say how it ended. NAME may be left out
where the namespace has one TrustDomain.

The turn takes the next safe step and no more: a rollover under way goes on by itself. The
exit status is 0 if the TrustDomain is ready after the turn, and 1 otherwise.`,
		Args:              atMostOne("NAME"),
		ValidArgsFunction: flags.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, domain, err := flags.domain(cmd.Context(), args)
			if err != nil {
				return err
			}
			if domain.Spec.Suspend {
				return fmt.Errorf("TrustDomain %s is suspended: let it have turns again with reanchor resume %s -n %s", nameOf(domain), domain.Name, domain.Namespace)
			}
			return c.takeTurn(cmd, domain, asked(domain, time.Now()), flags.timeout)
		},
	}
	flags.bind(command)
	flags.bindTimeout(command)
	return command
}

func newSuspend() *cobra.Command {
	var flags turnFlags
	command := &cobra.Command{
		Use:   "suspend [NAME]",
		Short: "Stop the turns of a TrustDomain",
		Long: `Stop the turns of a TrustDomain, by spec.suspend. A rollover under way stays where it is,
which is safe, and drift is not mended; a turn that has begun ends. NAME may be left out
where the namespace has one TrustDomain. Where the TrustDomain itself comes from Git, set
spec.suspend there: whatever applies it would undo this.`,
		Args:              atMostOne("NAME"),
		ValidArgsFunction: flags.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, domain, err := flags.domain(cmd.Context(), args)
			if err != nil {
				return err
			}
			if domain.Spec.Suspend {
				return say(cmd.ErrOrStderr(), "%s is suspended already", nameOf(domain))
			}
			changed := domain.DeepCopy()
			changed.Spec.Suspend = true
			if err := c.change(cmd.Context(), domain, changed); err != nil {
				return err
			}
			return say(cmd.ErrOrStderr(), "%s is suspended: go on with reanchor resume %s -n %s", nameOf(domain), domain.Name, domain.Namespace)
		},
	}
	flags.bind(command)
	return command
}

func newResume() *cobra.Command {
	var flags turnFlags
	command := &cobra.Command{
		Use:   "resume [NAME]",
		Short: "Let a TrustDomain have turns again, and wait for the first",
		Long: `Let a TrustDomain have turns again, by spec.suspend, and ask for the first one now; wait
for it, and say how it ended. NAME may be left out where the namespace has one
TrustDomain. The exit status is that of reanchor reconcile.`,
		Args:              atMostOne("NAME"),
		ValidArgsFunction: flags.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, domain, err := flags.domain(cmd.Context(), args)
			if err != nil {
				return err
			}
			changed := asked(domain, time.Now())
			changed.Spec.Suspend = false
			return c.takeTurn(cmd, domain, changed, flags.timeout)
		},
	}
	flags.bind(command)
	flags.bindTimeout(command)
	return command
}

// domain that the arguments name, and the cluster that it is in.
func (f *turnFlags) domain(ctx context.Context, args []string) (*cluster, *v1alpha1.TrustDomain, error) {
	c, err := f.connect()
	if err != nil {
		return nil, nil, err
	}
	domain, err := c.domainNamed(ctx, append(args, "")[0])
	return c, domain, err
}

func nameOf(domain *v1alpha1.TrustDomain) string { return domain.Namespace + "/" + domain.Name }

// say something to a person.
func say(stderr io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(stderr, "reanchor: "+format+"\n", args...)
	return err
}

// asked is the domain with the annotation by which a turn is asked for.
func asked(domain *v1alpha1.TrustDomain, now time.Time) *v1alpha1.TrustDomain {
	changed := domain.DeepCopy()
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, meta.ReconcileRequestAnnotation, now.Format(time.RFC3339Nano))
	return changed
}

// change sends what differs, and nothing else of the object.
func (c *cluster) change(ctx context.Context, from, to *v1alpha1.TrustDomain) error {
	if err := c.Patch(ctx, to, client.MergeFrom(from), client.FieldOwner("reanchor-cli")); err != nil {
		return fmt.Errorf("change TrustDomain %s: %w", nameOf(from), advised(err))
	}
	return nil
}

// takeTurn changes the domain so that it has a turn, and waits for that one.
func (c *cluster) takeTurn(cmd *cobra.Command, from, to *v1alpha1.TrustDomain, limit time.Duration) error {
	if err := c.change(cmd.Context(), from, to); err != nil {
		return err
	}
	if err := say(cmd.ErrOrStderr(), "asked for a turn of %s", nameOf(to)); err != nil || limit == 0 {
		return err
	}
	wanted, generation := selection{to.Namespace, to.Name}, to.Generation
	after, err := c.await(cmd.Context(), wanted, limit, "the turn was taken", func(now *v1alpha1.TrustDomain) bool {
		return hadTurn(now, to.Annotations[meta.ReconcileRequestAnnotation], generation)
	})
	if err != nil {
		return err
	}
	tell := newTeller(cmd.OutOrStdout(), "table", time.Now)
	if err := tell.all(standings([]v1alpha1.TrustDomain{*after})); err != nil {
		return fmt.Errorf("print the status: %w", err)
	}
	if s := standingOf(*after); s.Ready != metav1.ConditionTrue {
		return fmt.Errorf("TrustDomain %s is not ready: %s", nameOf(after), s.Reason)
	}
	return nil
}

// hadTurn reports whether the status speaks of a turn that answered the request and saw
// the spec of that generation.
func hadTurn(domain *v1alpha1.TrustDomain, request string, generation int64) bool {
	ready := apimeta.FindStatusCondition(domain.Status.Conditions, meta.ReadyCondition)
	return domain.Status.LastHandledReconcileAt == request && domain.Status.ObservedGeneration >= generation &&
		ready != nil && ready.Status != metav1.ConditionUnknown
}
