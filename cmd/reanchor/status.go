package main

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// statusFlags are the flags of reanchor status.
type statusFlags struct {
	clusterFlags
	allNamespaces bool
	watch         bool
}

func newStatus() *cobra.Command {
	var flags statusFlags
	command := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Say how far TrustDomains and their rollovers have come",
		Long: `Say how far TrustDomains have come: whether they are ready, what revision is applied, where
each authority's rollover stands, and what it waits for. NAME is one TrustDomain; without
it, all of the namespace are told of.

With --watch whatever changes is told as it changes, until the command is interrupted:
with -o json one object a line, with -o yaml one document each.`,
		Args:              atMostOne("NAME"),
		ValidArgsFunction: flags.completeNames,
	}
	flags.bind(command)
	command.Flags().BoolVarP(&flags.allNamespaces, "all-namespaces", "A", false, "tell of the TrustDomains of all namespaces")
	command.Flags().BoolVarP(&flags.watch, "watch", "w", false, "go on telling what changes")
	output := bindFormat(command, "them", "table", "json", "yaml")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		if err := output.validate(); err != nil {
			return err
		}
		c, err := flags.connect()
		if err != nil {
			return err
		}
		wanted := selection{namespace: c.namespace, name: append(args, "")[0]}
		if flags.allNamespaces && wanted.name == "" {
			wanted.namespace = ""
		}
		return c.status(cmd, wanted, newTeller(cmd.OutOrStdout(), output.chosen, time.Now), flags.watch)
	}
	return command
}

// selection of TrustDomains: of a namespace, or of all if it is empty; one by its name, or
// all if that is empty.
type selection struct{ namespace, name string }

// status tells of TrustDomains, and goes on telling with watch.
func (c *cluster) status(cmd *cobra.Command, wanted selection, tell *teller, watch bool) error {
	domains, err := c.selected(cmd, wanted)
	if err != nil {
		return err
	}
	if err := tell.all(standings(domains)); err != nil {
		return fmt.Errorf("print the status: %w", err)
	}
	if !watch {
		return nil
	}
	return c.follow(cmd.Context(), wanted, func(domain *v1alpha1.TrustDomain) error { return tell.changed(standingOf(*domain)) })
}

func (c *cluster) selected(cmd *cobra.Command, wanted selection) ([]v1alpha1.TrustDomain, error) {
	if wanted.name != "" {
		domain, err := c.domainNamed(cmd.Context(), wanted.name)
		if err != nil {
			return nil, err
		}
		return []v1alpha1.TrustDomain{*domain}, nil
	}
	domains, err := c.domains(cmd.Context(), wanted.namespace)
	if err == nil && len(domains) == 0 {
		where, hint := "this cluster", "make one, as in docs/how-to/roll-a-root.md"
		if wanted.namespace != "" {
			where, hint = "namespace "+wanted.namespace, "give --namespace, or -A for all"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "reanchor: there is no TrustDomain in %s: %s\n", where, hint)
	}
	return domains, err
}

// standing is how far a TrustDomain has come, as it is printed.
type standing struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Ready is True, False or Unknown, with the Reason and Message of that condition; its
	// Since is absent where there is none.
	Ready   metav1.ConditionStatus `json:"ready"`
	Reason  string                 `json:"reason"`
	Message string                 `json:"message,omitempty"`
	Since   *metav1.Time           `json:"since,omitempty"`
	// Suspended reports that it has no turns.
	Suspended bool `json:"suspended,omitempty"`
	// Revision that was applied last, and Attempted that was tried since, if it is another.
	Revision  string `json:"revision,omitempty"`
	Attempted string `json:"attempted,omitempty"`
	// Rollovers of the authorities, and Holds that are no single one's.
	Rollovers []v1alpha1.RolloverStatus `json:"rollovers,omitempty"`
	Holds     []string                  `json:"holds,omitempty"`
}

func standings(domains []v1alpha1.TrustDomain) []standing {
	all := []standing{}
	for _, domain := range domains {
		all = append(all, standingOf(domain))
	}
	slices.SortFunc(all, func(a, b standing) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// standingOf a TrustDomain.
func standingOf(domain v1alpha1.TrustDomain) standing {
	s := standing{
		Namespace: domain.Namespace, Name: domain.Name, Suspended: domain.Spec.Suspend,
		Ready: metav1.ConditionUnknown, Reason: "NotSeen", Message: "no controller has looked at it yet: see reanchor check",
		Revision: domain.Status.LastAppliedRevision, Rollovers: domain.Status.Rollovers, Holds: domain.Status.Holds,
	}
	if attempted := domain.Status.LastAttemptedRevision; attempted != s.Revision {
		s.Attempted = attempted
	}
	if ready := apimeta.FindStatusCondition(domain.Status.Conditions, meta.ReadyCondition); ready != nil {
		s.Ready, s.Reason, s.Message, s.Since = ready.Status, ready.Reason, ready.Message, &ready.LastTransitionTime
		if outdated(domain) && !s.Suspended {
			s.Ready, s.Reason, s.Message = metav1.ConditionUnknown, "Outdated", "no controller has seen its latest change yet: see reanchor check if it stays so"
		}
	}
	return s
}

// outdated reports whether the status does not speak of the latest spec.
func outdated(domain v1alpha1.TrustDomain) bool {
	return domain.Status.ObservedGeneration != domain.Generation
}

// name is namespace/name.
func (s standing) name() string { return s.Namespace + "/" + s.Name }

// state in a word or two: what is under way, or else what is the matter.
func (s standing) state() string {
	underWay := slices.DeleteFunc(slices.Clone(s.Rollovers), func(r v1alpha1.RolloverStatus) bool { return isSettled(r) })
	switch {
	case s.Suspended:
		return "Suspended"
	case s.Ready != metav1.ConditionTrue:
		return s.Reason
	case len(underWay) == 0:
		return string(planner.Settled)
	case len(underWay) == 1:
		return underWay[0].Phase
	}
	return fmt.Sprintf("%d rollovers", len(underWay))
}

func isSettled(r v1alpha1.RolloverStatus) bool { return r.Phase == string(planner.Settled) }

// colour of the state.
func (s standing) colour() string {
	switch {
	case s.Suspended, s.Ready == metav1.ConditionUnknown:
		return yellow
	case s.Ready == metav1.ConditionFalse:
		return red
	}
	return green
}

// commit finds the long hash in "main@sha1:<40 hex digits>".
var commit = regexp.MustCompile(`^(.*:[0-9a-f]{12})[0-9a-f]{8,}$`)

// short is a revision that still names one commit to a person.
func short(revision string) string { return cmp.Or(commit.ReplaceAllString(revision, "$1"), "none") }

// teller prints standings.
type teller struct {
	out    io.Writer
	format string
	paint  palette
	now    func() time.Time
	// told is what was printed last of each TrustDomain.
	told map[string]string
}

func newTeller(out io.Writer, format string, now func() time.Time) *teller {
	return &teller{out: out, format: format, paint: paletteFor(out), now: now, told: map[string]string{}}
}

// all are printed at first.
func (t *teller) all(standings []standing) error {
	for _, s := range standings {
		t.told[s.name()] = fingerprint(s)
	}
	switch t.format {
	case "json":
		return writeJSON(t.out, standings)
	case "yaml":
		return writeYAML(t.out, standings)
	}
	if len(standings) == 0 {
		return nil
	}
	rows := [][]cell{plain("TRUSTDOMAIN", "READY", "SINCE", "REVISION", "STATE")}
	for _, s := range standings {
		rows = append(rows, t.row(s))
	}
	if err := writeTable(t.out, t.paint, "", rows); err != nil {
		return err
	}
	for _, s := range standings {
		if err := t.details(s); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) row(s standing) []cell {
	row := plain(s.name(), "", t.ago(s.Since), short(s.Revision), "")
	row[1], row[4] = cell{string(s.Ready), s.colour()}, cell{s.state(), s.colour()}
	return row
}

// ago is the time since then: "5m", or "-" if it is not known.
func (t *teller) ago(since *metav1.Time) string {
	if since == nil || since.IsZero() {
		return "-"
	}
	return duration.HumanDuration(t.now().Sub(since.Time))
}

// details are the message of what is not ready, the rollovers and the holds.
func (t *teller) details(s standing) error {
	notes := s.notes()
	if len(notes)+len(s.Rollovers) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(t.out, "\n%s\n", t.paint.paint(bold, s.name())); err != nil {
		return err
	}
	return t.body(notes, s.Rollovers)
}

// body is what stands below a TrustDomain's name.
func (t *teller) body(notes []string, rollovers []v1alpha1.RolloverStatus) error {
	for _, note := range notes {
		if _, err := fmt.Fprintf(t.out, "  %s\n", note); err != nil {
			return err
		}
	}
	var rows [][]cell
	for _, r := range rollovers {
		rows = append(rows, t.rollover(r))
	}
	// The rows are aligned with each other, and each is followed by its holds.
	var table strings.Builder
	if err := writeTable(&table, t.paint, "  ", rows); err != nil {
		return err
	}
	for at, line := range slices.Collect(strings.Lines(table.String())) {
		if _, err := io.WriteString(t.out, line+holdLines(t.paint, rollovers[at].Holds)); err != nil {
			return err
		}
	}
	return nil
}

// notes are the message, if it is not that all is well, and the holds that are no single
// authority's.
func (s standing) notes() []string {
	var notes []string
	switch {
	case s.Suspended:
		notes = append(notes, "suspended: it has no turns until reanchor resume "+s.Name+" -n "+s.Namespace)
	case s.Ready != metav1.ConditionTrue:
		notes = append(notes, s.Message)
	}
	if s.Attempted != "" {
		notes = append(notes, "tried "+short(s.Attempted)+" since")
	}
	for _, hold := range s.Holds {
		notes = append(notes, "· "+hold)
	}
	return notes
}

func (t *teller) rollover(r v1alpha1.RolloverStatus) []cell {
	row := plain(r.Authority, r.Phase, keysOf(r), t.ago(&r.Since), r.Progress)
	row[1].colour = cyan
	if isSettled(r) {
		row[1].colour = green
	}
	return row
}

// keysOf a rollover: "2025 → 2026", or the one that it rests on.
func keysOf(r v1alpha1.RolloverStatus) string {
	if r.From == "" || r.From == r.To {
		return cmp.Or(r.To, "none")
	}
	return r.From + " → " + cmp.Or(r.To, "none")
}

func holdLines(paint palette, holds []string) string {
	var lines strings.Builder
	for _, hold := range holds {
		lines.WriteString("    " + paint.paint(yellow, "·") + " " + hold + "\n")
	}
	return lines.String()
}

// fingerprint tells whether there is anything new to print.
func fingerprint(s standing) string { return fmt.Sprintf("%+v", s) }

// changed is printed of a TrustDomain if it says something new.
func (t *teller) changed(s standing) error {
	if t.told[s.name()] == fingerprint(s) {
		return nil
	}
	t.told[s.name()] = fingerprint(s)
	switch t.format {
	case "json":
		return writeLine(t.out, s)
	case "yaml":
		return writeYAML(t.out, s)
	}
	at := t.now().Format(time.TimeOnly)
	if _, err := fmt.Fprintf(t.out, "\n%s  %s  %s  %s\n", at, t.paint.paint(bold, s.name()), t.paint.paint(s.colour(), s.state()), short(s.Revision)); err != nil {
		return err
	}
	return t.body(s.notes(), s.Rollovers)
}
