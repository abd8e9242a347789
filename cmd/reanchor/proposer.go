package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/reanchor/reanchor/forge"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/registrar"
)

// proposer keeps a pull request open for each group whose registrations wait to be merged. A
// registration is in Git before it is asked, and no device waits for it.
type proposer struct {
	forge   *forge.Forge
	waiting func(group string) ([]string, error)
	into    string // the branch that they are merged into
	metrics *registrar.Metrics
	log     logr.Logger

	mutex sync.Mutex
	asked map[string]bool // the groups that are still to be seen to
	wake  chan struct{}
}

// openProposer prepares to open pull requests, if a forge is given.
func (o *office) openProposer(context.Context) error {
	if o.flags.forge == "" {
		return nil
	}
	to, err := forge.ForRepository(o.flags.forge, os.Getenv, o.flags.forgeSettings)
	if err != nil {
		return fmt.Errorf("--forge: %w", err)
	}
	o.proposer = newProposer(to, o.metrics, o.log)
	return nil
}

func newProposer(to *forge.Forge, metrics *registrar.Metrics, log logr.Logger) *proposer {
	return &proposer{forge: to, metrics: metrics, log: log, asked: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// addProposer has it run beside the endpoint.
func (o *office) addProposer() error {
	if o.proposer == nil {
		return nil
	}
	o.proposer.waiting, o.proposer.into = o.git.Waiting, o.branches.Record.Name
	return o.add(func(ctx context.Context) error {
		o.proposer.run(ctx, proposeAgain)
		return nil
	})
}

// proposeAgain is how long to wait when a pull request could not be opened.
const proposeAgain = time.Minute

// ask for a group's pull request. It does not wait.
func (p *proposer) ask(group string) {
	p.mutex.Lock()
	p.asked[group] = true
	p.mutex.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run until ctx ends. What fails is tried again.
func (p *proposer) run(ctx context.Context, again time.Duration) {
	ticker := time.NewTicker(again)
	defer ticker.Stop()
	for {
		select {
		case <-p.wake:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, group := range p.take() {
			p.see(ctx, group)
		}
	}
}

// take the groups that were asked for.
func (p *proposer) take() []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	groups := slices.Sorted(maps.Keys(p.asked))
	clear(p.asked)
	return groups
}

// see to one group's pull request.
func (p *proposer) see(ctx context.Context, group string) {
	outcome, err := p.propose(ctx, group)
	if errors.Is(err, errNothingWaits) || ctx.Err() != nil {
		return
	}
	if err != nil {
		p.metrics.Proposed("failed")
		p.log.Error(err, "the registrations wait on their branch, and nobody is asked to merge them: it is tried again", "group", group)
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.asked[group] = true
		return
	}
	p.metrics.Proposed(proposed[outcome])
	if outcome != forge.Unchanged {
		p.log.Info("a pull request asks to merge registrations", "group", group, "outcome", string(outcome))
	}
}

// proposed are the outcomes as the metric has them.
var proposed = map[forge.Outcome]string{forge.Made: "made", forge.Edited: "edited", forge.Unchanged: "unchanged"}

// errNothingWaits says that all was merged meanwhile.
var errNothingWaits = errors.New("nothing waits to be merged")

func (p *proposer) propose(ctx context.Context, group string) (forge.Outcome, error) {
	files, err := p.waiting(group)
	if err != nil {
		return "", fmt.Errorf("read what waits of group %s: %w", group, err)
	}
	if len(files) == 0 {
		return "", errNothingWaits
	}
	return p.forge.Propose(ctx, forge.Proposal{
		From: gitsource.RegistrationBranch(group), Into: p.into,
		Title: "Register devices of " + group, Body: describe(group, files),
	})
}

// mostDescribed is how many devices the description of a pull request lists.
const mostDescribed = 200

// describe what waits, in Markdown. The paths of devices hold nothing that Markdown or a
// forge would read anything into, inside a code span.
func describe(group string, files []string) string {
	var text strings.Builder
	if len(files) == 1 {
		fmt.Fprintf(&text, "A device of the group `%s` has asked to be registered, and waits for this to be merged.\n\n", group)
	} else {
		fmt.Fprintf(&text, "%d devices of the group `%s` have asked to be registered, and wait for this to be merged.\n\n", len(files), group)
	}
	for _, file := range files[:min(len(files), mostDescribed)] {
		fmt.Fprintf(&text, "- `%s`\n", file)
	}
	if more := len(files) - mostDescribed; more > 0 {
		fmt.Fprintf(&text, "- and %d more\n", more)
	}
	text.WriteString("\nThe registration endpoint keeps this list and the branch up to date: what comes until it is merged is added. " +
		"To refuse a device, close this and have the device blocked or left out of the group; a device that comes again opens it anew.\n")
	return text.String()
}
