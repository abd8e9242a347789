package reconciler

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Webhook is what a domain says of the webhook by which its repository's server may ask
// for a turn.
type Webhook struct {
	v1alpha1.Webhook
	// URL of the repository, and the branches of it that are read: the source's, and the
	// record's if that is another.
	URL      string
	Branches []string
}

// Webhook of a domain, from the cache; nil if there is no such domain, or it has none.
func (r *Reconciler) Webhook(ctx context.Context, domain types.NamespacedName) (*Webhook, error) {
	found := &v1alpha1.TrustDomain{}
	if err := r.Client.Get(ctx, domain, found); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if found.Spec.Webhook == nil {
		return nil, nil
	}
	branches := []string{found.Spec.Source.Ref.Branch}
	if record := recordBranchOf(found.Spec); record != "" && !slices.Contains(branches, record) {
		branches = append(branches, record)
	}
	return &Webhook{Webhook: *found.Spec.Webhook, URL: found.Spec.Source.URL, Branches: branches}, nil
}

// webhookUse is that of a Secret by its name.
func webhookUse(name string) secretUse {
	return secretUse{field: "spec.webhook.secretRef", name: name, keys: []string{secretToken}}
}

// WebhookToken reads, at the API server, the token that a domain's webhooks are signed with.
// Its errors hold nothing of it.
func (r *Reconciler) WebhookToken(ctx context.Context, domain types.NamespacedName) ([]byte, error) {
	found := &v1alpha1.TrustDomain{}
	if err := r.Client.Get(ctx, domain, found); err != nil {
		return nil, fmt.Errorf("get TrustDomain %s: %w", domain, err)
	}
	if found.Spec.Webhook == nil {
		return nil, fmt.Errorf("TrustDomain %s has no spec.webhook: add it", domain)
	}
	use, secrets := webhookUse(found.Spec.Webhook.SecretRef.Name), secretsOf(r.APIReader, found)
	data, err := secrets.read(ctx, use)
	if err != nil {
		return nil, err
	}
	if err := data.require(secretToken); err != nil {
		return nil, fmt.Errorf("%s %w", secrets.subject(use), err)
	}
	if err := data.singleLines(secretToken); err != nil {
		return nil, fmt.Errorf("%s %w", secrets.subject(use), err)
	}
	return data[secretToken], nil
}
