package preflight

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
)

// oldest is the first Kubernetes with ValidatingAdmissionPolicy in its final version.
var oldest = version.MajorMinor(1, 30)

// How far clocks may be apart. Certificates are used from notBefore and skew on, 5m unless
// Git says otherwise.
const (
	slightSkew = 30 * time.Second
	greatSkew  = 5 * time.Minute
)

func (l *look) kubernetes(ctx context.Context) bool {
	before := l.Now()
	server, err := l.Server(ctx)
	if err != nil {
		l.fail("see that it runs, and that --kubeconfig and --context are right", "the API server does not answer: %v", err)
		return false
	}
	l.pass("the API server answers at %s", server.Address)
	l.version(server.GitVersion)
	l.now = server.Date
	if server.Date.IsZero() {
		l.now = before
		l.warn("compare the clocks by hand", "it does not say what time it is")
		return true
	}
	l.skew(skewBetween(before, l.Now(), server.Date))
	return true
}

func (l *look) version(text string) {
	running, err := version.ParseGeneric(text)
	switch {
	case err != nil:
		l.warn("see that it is "+oldest.String()+" or newer", "its version %q is none that is known", text)
	case running.LessThan(oldest):
		l.fail("upgrade it to "+oldest.String()+" or newer: admission policies bound what the controller may do", "it runs Kubernetes %s", text)
	default:
		l.pass("it runs Kubernetes %s", text)
	}
}

// skewBetween is how far a clock, in whole seconds, is ahead of ours, which was read before
// and after it; 0 if it may be right.
func skewBetween(before, after, date time.Time) time.Duration {
	switch {
	case date.After(after):
		return date.Sub(after)
	case date.Add(time.Second).Before(before):
		return date.Add(time.Second).Sub(before)
	}
	return 0
}

func (l *look) skew(skew time.Duration) {
	apart := skew.Abs().Round(time.Second)
	const hint = "set both by NTP: certificates are refused before their time by clocks that are behind"
	switch {
	case apart >= greatSkew:
		l.fail(hint, "its clock and this machine's are %s apart", apart)
	case apart >= slightSkew:
		l.warn(hint, "its clock and this machine's are %s apart", apart)
	default:
		l.pass("its clock and this machine's agree")
	}
}
