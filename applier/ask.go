package applier

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// AnnotationRequestedAt is Flux's: another value than the last asks for a turn.
const AnnotationRequestedAt = "reconcile.fluxcd.io/requestedAt"

// AskForTurn asks the controller for a turn of a domain, as `flux reconcile` does. The token
// is any text that differs from the one before.
func (a *Applier) AskForTurn(ctx context.Context, domain planner.Ref, token string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{AnnotationRequestedAt: token}}})
	if err != nil {
		return fmt.Errorf("ask for a turn of TrustDomain %s: %w", domain, err)
	}
	asked := &v1alpha1.TrustDomain{ObjectMeta: metav1.ObjectMeta{Namespace: domain.Namespace, Name: domain.Name}}
	if err := a.Writer.Patch(ctx, asked, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("ask for a turn of TrustDomain %s: %w; grant patch on it", domain, err)
	}
	return nil
}
