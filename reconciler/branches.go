package reconciler

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Branches are those of a domain's repository, for whoever writes there beside the turns: the
// registration endpoint.
type Branches struct {
	// Source holds the documents, Record the record and the devices: the same branch unless
	// the domain gives it one of its own.
	Source, Record Branch
	// Folder of the domain in both, as fs.FS names it.
	Folder string
	// Author and Committer of the commits, and the template of the messages of those in
	// which devices register; empty: the writer's own.
	Author, Committer v1alpha1.CommitAuthor
	MessageTemplate   string
	// Interval at which to look at them.
	Interval time.Duration
}

// ReadBranches reads what a domain says of its branches, and the credentials to reach them, by
// the rules of a turn.
func ReadBranches(ctx context.Context, reader client.Reader, domain *v1alpha1.TrustDomain) (Branches, error) {
	if err := validateSpec(domain.Spec); err != nil {
		return Branches{}, err
	}
	if recordBranchOf(domain.Spec) == "" {
		return Branches{}, errors.New("spec.writeBack.mode is Disabled, and registrations are written to Git: set it to Enabled")
	}
	credentials, err := readCredentials(ctx, reader, domain)
	if err != nil {
		return Branches{}, err
	}
	t := &turn{domain: domain}
	return Branches{
		Source: t.sourceBranch(credentials), Record: t.recordBranch(credentials),
		Folder: folderOf(domain.Spec), Interval: intervalOf(domain.Spec),
		Author: authorOf(domain.Spec), Committer: committerOf(domain.Spec), MessageTemplate: domain.Spec.WriteBack.MessageTemplate,
	}, nil
}

// Domain names the TrustDomain.
func (b Branches) Domain() planner.Ref { return b.Source.Domain }
