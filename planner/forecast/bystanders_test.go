package forecast_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
)

// pinned adds a bundle that Git lets distribute no authority, with a certificate of its own,
// to what Git declares and to what was seen, and a workload that verifies with it.
func pinned(desired planner.Desired, observed planner.Observed, via v1alpha1.BundleVia, certificate pki.Certificate) (planner.Desired, planner.Observed) {
	declared, anchors := bundle("pinned"), pki.NewAnchors(certificate)
	if declared.Spec.Via = via; via != v1alpha1.ViaObserved {
		declared.Spec.Certificates = []string{string(certificate.PEM())}
	}
	held := observed.Copies[0]
	held.Bundle, held.Anchors = "pinned", anchors
	desired.Bundles = append(slices.Clone(desired.Bundles), declared)
	observed.Bundles = append(slices.Clone(observed.Bundles), planner.Bundle{
		Name: "pinned", Via: via, Seen: true, Revision: "u/1", Anchors: anchors, Certificates: anchors, Target: declared.Spec.Target,
	})
	observed.Copies = append(slices.Clone(observed.Copies), held)
	observed.Workloads = append(slices.Clone(observed.Workloads), planner.Workload{
		Kind: "Deployment", Ref: planner.Ref{Namespace: held.Namespace, Name: "pinner"}, Pods: 1, Started: 1,
		Bundles: []planner.Mount{{Name: "pinned", Kind: planner.MountVolume}},
	})
	return desired, observed
}

// TestABystanderIsNotSafe: a commit by which somebody would refuse what he accepts now is not
// safe, whatever Git says of the bundle that he verifies with; and is with the way out that is
// told.
func TestABystanderIsNotSafe(t *testing.T) {
	for name, test := range map[string]struct {
		base, head planner.Desired
		key        string
	}{
		"an intermediate": {swift(chain(keys(signing("2025")), keys(signing("a")))), swift(chain(keys(signing("2025")), keys(retired("a"), signing("b")))), "a.2025"},
		"a root":          {swift(fleet(signing("2025"))), swift(fleet(retired("2025"), signing("2026"))), "2025"},
	} {
		for _, via := range []v1alpha1.BundleVia{v1alpha1.ViaBundle, v1alpha1.ViaConfigMap, v1alpha1.ViaObserved} {
			t.Run(name+", via "+string(via), func(t *testing.T) {
				observed, at := cluster(t, test.base, test.base, 0)
				certificate := observed.Keys[slices.IndexFunc(observed.Keys, func(k planner.Key) bool { return k.Name == test.key })].Certificate
				base, observed := pinned(test.base, observed, via, certificate)
				head, _ := pinned(test.head, observed, via, certificate)
				f := forecast.Run(seen(base, head, observed, at))
				if f.Verdict != forecast.Blocked || !strings.Contains(f.Summary, "Deployment office/pinner") || !strings.Contains(f.Summary, "write authorities: [") {
					t.Errorf("%s: %s", f.Verdict, f.Summary)
				}
				head.Bundles[len(head.Bundles)-1].Spec.Authorities = base.Bundles[0].Spec.Authorities
				if f := forecast.Run(seen(base, head, observed, at)); f.Verdict == forecast.Blocked {
					t.Errorf("with the way out that is told, %s: %s", f.Verdict, f.Summary)
				}
			})
		}
	}
}

// TestATargetMayGrow: what a bundle is written to beside harms nobody.
func TestATargetMayGrow(t *testing.T) {
	base := swift(fleet(signing("2025")))
	observed, at := cluster(t, base, base, 0)
	for name, test := range map[string]struct {
		change func(*v1alpha1.BundleTarget)
		want   forecast.Verdict
	}{
		"a Java keystore": {func(target *v1alpha1.BundleTarget) {
			target.AdditionalFormats.JKS = &v1alpha1.KeystoreFormat{Key: "trust.jks"}
		}, forecast.Safe},
		"a Secret": {func(target *v1alpha1.BundleTarget) { target.Secret = v1alpha1.SecretTarget{Key: "ca.crt"} }, forecast.Safe},
	} {
		t.Run(name, func(t *testing.T) {
			head := swift(fleet(signing("2025")))
			test.change(&head.Bundles[0].Spec.Target)
			if f := forecast.Run(seen(base, head, observed, at)); f.Verdict != test.want {
				t.Errorf("%s: %s", f.Verdict, f.Summary)
			}
		})
	}
}
