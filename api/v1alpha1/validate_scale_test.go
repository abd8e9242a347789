package v1alpha1

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// crowds are many documents of one kind, right or wrong, beside the one of the root.
var crowds = map[string]func(root Authority, i int) Object{
	"bindings": func(_ Authority, i int) Object {
		return &IssuerBinding{Metadata: Metadata{Name: fmt.Sprintf("b%d", i)}, Spec: IssuerBindingSpec{Scope: ScopeCluster, Authority: "root"}}
	},
	"bindings of nobody": func(_ Authority, i int) Object {
		return &IssuerBinding{Metadata: Metadata{Name: "b"}, Spec: IssuerBindingSpec{Scope: ScopeCluster, Authority: fmt.Sprintf("rot%d", i)}}
	},
	"intermediates": func(root Authority, i int) Object { return below(root, i, "root") },
	"a chain":       func(root Authority, i int) Object { return below(root, i, fmt.Sprintf("c%d", i-1)) },
	"intermediates of nobody": func(root Authority, i int) Object {
		return below(root, i, fmt.Sprintf("x%d", i))
	},
	"bundles": func(_ Authority, i int) Object {
		return &TrustBundle{Metadata: Metadata{Name: fmt.Sprintf("t%d", i)}, Spec: TrustBundleSpec{
			Authorities: []string{"root"}, Via: ViaBundle, Target: BundleTarget{ConfigMap: ConfigMapTarget{Key: "ca.crt"}},
		}}
	},
	"devices of nobody": func(_ Authority, i int) Object {
		return &Device{Metadata: Metadata{Name: fmt.Sprintf("d%d", i)}, Spec: DeviceSpec{Group: "sensors", State: DeviceActive}}
	},
}

func below(root Authority, i int, parent string) *Authority {
	root.Metadata.Name, root.Spec.Subject.CommonName = fmt.Sprintf("c%d", i), fmt.Sprintf("C %d", i)
	root.Spec.IssuedBy = &AuthorityReference{Name: parent}
	return &root
}

func crowd(t testing.TB, next func(Authority, int) Object, size int) []Document {
	t.Helper()
	list, err := Decode("f.yaml", []byte(root))
	if err != nil {
		t.Fatal(err)
	}
	template := *list[0].Object.(*Authority)
	for i := range size {
		list = append(list, Document{File: "f.yaml", Line: i + 2, Object: next(template, i)})
	}
	return list
}

// Ten times the documents take ten times as long, and not a hundred times.
func TestValidateIsNotQuadratic(t *testing.T) {
	for name, next := range crowds {
		t.Run(name, func(t *testing.T) {
			few, many := crowd(t, next, 500), crowd(t, next, 5_000)
			one, ten := shortest(t, few), shortest(t, many)
			if ten > 45*one {
				t.Errorf("500 documents took %s and 5,000 took %s", one, ten)
			}
		})
	}
}

// shortest of three validations, in the processor's time: others may be at work as well.
func shortest(t *testing.T, list []Document) time.Duration {
	t.Helper()
	best := time.Hour
	for range 3 {
		start := worked(t)
		Validate(list, Site{})
		best = min(best, worked(t)-start)
	}
	return best
}

// worked is how long this process has had the processor.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkValidate(b *testing.B) {
	for name, next := range crowds {
		b.Run(name, func(b *testing.B) {
			list := crowd(b, next, 10_000)
			for b.Loop() {
				Validate(list, Site{})
			}
		})
	}
}
