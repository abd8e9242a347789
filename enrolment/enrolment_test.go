package enrolment_test

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/enrolment"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// A device gets a certificate for a key that it makes, and finds both again.
func TestEnrol(t *testing.T) {
	protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
		for _, algorithm := range []enrolment.KeyAlgorithm{"", enrolment.Ed25519, enrolment.RSA} {
			s := openSite(t)
			options := s.options(by, func(o *enrolment.Options) { o.KeyAlgorithm = algorithm })
			w := s.reopen(options)
			if len(w.Chain()) != 0 || len(w.Credential().Certificate) != 0 || w.ID() != "sensor-1" {
				t.Fatalf("before: %v %v", w.Chain(), w.ID())
			}
			s.must(w.Enrol(t.Context()))
			leaf := w.Chain()[0]
			if pki.Verify(w.Chain(), w.Anchors(), s.now()) != nil || leaf.CommonName() != "sensor-1" || !slices.Equal(leaf.X509().DNSNames, []string{"sensor-1.sensors.example"}) {
				t.Errorf("got %s", leaf)
			}
			expectFiles(t, w.folder, "anchors.pem", "certificate.pem", "key.pem")
			if info, err := os.Stat(filepath.Join(w.folder, "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the key's mode: %v %v", info.Mode(), err)
			}
			s.must(os.WriteFile(filepath.Join(w.folder, ".key.pem-42"), []byte("a key that a crash has left"), 0o600))
			options.Bootstrap.Certificate, options.Anchors = nil, nil // they are not needed any more
			again := s.reopen(options)
			s.must(again.Enrol(t.Context()))
			if !again.Chain()[0].Equal(leaf) || again.ID() != "sensor-1" || !again.Anchors().Equal(oldAnchor) || len(s.Commits()) != 1 {
				t.Errorf("again: %v %v, commits %d", again.Chain(), again.ID(), len(s.Commits()))
			}
			expectFiles(t, w.folder, "anchors.pem", "certificate.pem", "key.pem")
			if kinds := w.kinds(); !slices.Equal(kinds, []enrolment.Kind{enrolment.Registered}) {
				t.Errorf("told %v", kinds)
			}
		}
	})
}

// What is temporary is waited for, as long as the server says.
func TestEnrolWaits(t *testing.T) {
	for name, test := range map[string]struct {
		before, after func(*site)
		waits         []time.Duration
		status        int
	}{
		"the certificate takes long": {
			func(s *site) { s.HoldIssuance(true) },
			func(s *site) { s.Release(s.Commits()[0]) },
			[]time.Duration{10 * time.Second},
			202,
		},
		"a person is to merge it": {
			func(s *site) { s.FailCommits(registrar.ErrProposed) },
			func(s *site) { s.FailCommits(nil) },
			[]time.Duration{5 * time.Minute},
			202,
		},
		"Git is away": {
			func(s *site) { s.FailCommits(registrar.ErrUnreachable) },
			func(s *site) { s.FailCommits(nil) },
			[]time.Duration{30 * time.Second},
			503,
		},
	} {
		t.Run(name, func(t *testing.T) {
			protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
				s := openSite(t)
				test.before(s)
				w := s.open(by, func(o *enrolment.Options) {
					o.Wait = func(context.Context, time.Duration) error { test.after(s); return nil }
				})
				s.must(w.Enrol(t.Context()))
				if !slices.Equal(w.waits, test.waits) || !slices.Equal(w.kinds(), []enrolment.Kind{enrolment.Failed, enrolment.Registered}) {
					t.Errorf("waited %v, told %v", w.waits, w.kinds())
				}
				refusal, is := errors.AsType[*enrolment.Refusal](w.events[0].Err)
				if !is || refusal.Status != test.status {
					t.Errorf("why: %v", w.events[0].Err)
				}
			})
		})
	}
}

// A server that is away is asked again, ever more seldom, until there is no more time.
func TestEnrolBacksOff(t *testing.T) {
	s := openSite(t)
	w := s.open(func(o *enrolment.Options) {
		o.Server = "https://127.0.0.1:1"
		waits := 0
		o.Wait = func(context.Context, time.Duration) error {
			if waits++; waits == 12 {
				return context.DeadlineExceeded
			}
			return nil
		}
	})
	err := w.Enrol(t.Context())
	if err == nil || !strings.Contains(err.Error(), "see that the server can be reached") || !strings.Contains(err.Error(), "the same key") {
		t.Errorf("ended with %v", err)
	}
	want := []time.Duration{2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 20 * time.Second}
	if !slices.Equal(w.waits[:4], want) || w.waits[11] != 30*time.Minute {
		t.Errorf("waited %v", w.waits)
	}
}

// A crash after the registration and before its answer: the next start asks with the same key.
func TestCrashBeforeTheAnswer(t *testing.T) {
	protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
		s := openSite(t)
		options := s.options(by)
		ctx, crash := context.WithCancel(t.Context())
		gone := make(chan struct{})
		s.OnCommit(func() { crash(); <-gone })
		w := s.reopen(options)
		err := w.Enrol(ctx)
		close(gone)
		if err == nil {
			t.Fatal("it got an answer")
		}
		before := files(t, w.folder)
		s.OnCommit(nil)
		again := s.reopen(options)
		s.must(again.Enrol(t.Context()))
		after := files(t, w.folder)
		fleet, _ := s.Fleet()
		registered, _ := fleet.Device("sensors", "sensor-1")
		if before["key.pem"] == "" || before["key.pem"] != after["key.pem"] || registered.Key != again.Chain()[0].SPKI() || len(s.Commits()) != 1 {
			t.Errorf("%d commits, registered %s, certified %s", len(s.Commits()), registered.Key, again.Chain()[0].SPKI())
		}
	})
}

// What a person has to see to ends enrolment at once, with what to do.
func TestEnrolRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*enrolment.Options)
		before  func(*site)
		problem string
		says    string
	}{
		"another factory": {func(o *enrolment.Options) { o.Bootstrap = factoryOf(strangeCA) }, nil, "unknown-ca", "show the device's factory certificate"},
		"other names":     {func(o *enrolment.Options) { o.DNSNames = []string{"x.example"} }, nil, "names", "make one that asks for these DNS names"},
		"another group":   {func(o *enrolment.Options) { o.Group = "meters" }, nil, "unknown-group", "name the device's own"},
		"no certificate":  {func(o *enrolment.Options) { o.Bootstrap.Certificate, o.ID = nil, "sensor-1" }, nil, "no-certificate", "show the device's factory certificate"},
		"blocked": {nil, func(s *site) {
			s.Put(admission.Device{Group: "sensors", ID: "sensor-1", State: v1alpha1.DeviceBlocked})
		}, "blocked", "ask whoever runs the fleet"},
	} {
		t.Run(name, func(t *testing.T) {
			protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
				s := openSite(t)
				if test.before != nil {
					test.before(s)
				}
				w := s.open(func(o *enrolment.Options) {
					if test.change != nil {
						test.change(o)
					}
				}, by)
				err := w.Enrol(t.Context())
				refusal, is := errors.AsType[*enrolment.Refusal](err)
				if !is || (refusal.Problem != test.problem && refusal.Problem != "") || refusal.Temporary() || !strings.Contains(err.Error(), test.says) || len(w.waits) > 0 {
					t.Errorf("ended with %v after %v", err, w.waits)
				}
				expectFiles(t, w.folder, "anchors.pem", "key.pem")
			})
		})
	}
}

// A certificate is followed by another before it ends, without a commit.
func TestRenew(t *testing.T) {
	protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
		s := openSite(t)
		w := s.enrolled(by)
		first := w.Chain()[0]
		s.must(w.Visit(t.Context()))
		if !w.Chain()[0].Equal(first) {
			t.Error("it was renewed at once")
		}
		s.pass(61 * 24 * time.Hour)
		s.must(w.Visit(t.Context())) // the server has no other yet: the first stays
		if !w.Chain()[0].Equal(first) {
			t.Error("it was renewed before there was another")
		}
		s.Switch(oldCA)
		s.must(w.Renew(t.Context()))
		second := w.Chain()[0]
		if second.Equal(first) || second.SPKI() != first.SPKI() || len(s.Commits()) != 1 {
			t.Errorf("%s follows %s, commits %d", second, first, len(s.Commits()))
		}
		if read, err := pki.ParsePEM([]byte(files(t, w.folder)["certificate.pem"])); err != nil || !read[0].Equal(second) {
			t.Errorf("on disk: %v %v", read, err)
		}
	})
}

// A rollover: old, both, a certificate by the new key, and the new anchor alone.
func TestRollover(t *testing.T) {
	protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
		s := openSite(t)
		w := s.enrolled(by, func(o *enrolment.Options) { o.ProofName = proofName })
		visit := func(step string, signs *registrartest.Authority, anchors pki.Anchors) {
			t.Helper()
			s.must(w.Visit(t.Context()))
			if !w.Chain()[0].SignedBy(signs.Certificate) || !w.Anchors().Equal(anchors) {
				t.Errorf("%s: a certificate of %s, anchors %v", step, w.Chain()[0].X509().Issuer, w.Anchors())
			}
			if seen := s.trusts(); len(seen) != len(anchors) && len(seen) != 1 { // the proof name's anchor alone
				t.Errorf("%s: seen to trust %v", step, seen)
			}
		}
		visit("before", oldCA, oldAnchor)
		s.Trust("sensors", registrartest.TrustOf(both, link))
		visit("distribute", oldCA, both)
		s.Show(shownBy(newCA, link))
		s.Switch(newCA)
		visit("switch", newCA, both)
		s.Trust("sensors", registrartest.TrustOf(newAnchor, link))
		visit("retire", newCA, newAnchor)
		want := []enrolment.Kind{
			enrolment.Registered, enrolment.Confirmed, enrolment.Proved,
			enrolment.Trusts, enrolment.Confirmed, enrolment.Proved, enrolment.Renewed,
			enrolment.Trusts, enrolment.Confirmed, enrolment.Proved,
		}
		if !slices.Equal(w.kinds(), want) || len(s.Commits()) != 1 {
			t.Errorf("told %v, commits %d", w.kinds(), len(s.Commits()))
		}
	})
}

// A device that enrols in the middle gets both anchors, and a certificate by the new key.
func TestEnrolInTheMiddle(t *testing.T) {
	protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
		s := openSite(t)
		s.Trust("sensors", registrartest.TrustOf(both, link))
		s.Switch(newCA)
		w := s.enrolled(by)
		if !w.Anchors().Equal(both) || !w.Chain()[0].SignedBy(newCA.Certificate) {
			t.Errorf("anchors %v, certificate of %s", w.Anchors(), w.Chain()[0].X509().Issuer)
		}
	})
}

// Away for the whole rollover: the link certificate lets the device in, and its factory
// certificate gets it a certificate where its own counts no more.
func TestAway(t *testing.T) {
	for name, away := range map[string]time.Duration{"its certificate is valid": 24 * time.Hour, "its certificate has ended": 100 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
				s := openSite(t)
				w := s.enrolled(by)
				s.pass(away)
				s.Switch(newCA)
				s.Trust("sensors", registrartest.TrustOf(newAnchor))
				s.Show(shownBy(newCA))
				before := files(t, w.folder)
				if err := w.Visit(t.Context()); err == nil || !strings.Contains(err.Error(), "trusts no root of that server") {
					t.Errorf("without a link: %v", err)
				}
				if after := files(t, w.folder); len(after) != len(before) || after["anchors.pem"] != before["anchors.pem"] {
					t.Errorf("without a link the folder has become %v", after)
				}
				s.Show(shownBy(newCA, link))
				s.must(w.Visit(t.Context()))
				if !w.Anchors().Equal(newAnchor) || !w.Chain()[0].SignedBy(newCA.Certificate) || len(s.Commits()) != 1 {
					t.Errorf("anchors %v, certificate of %s, commits %d", w.Anchors(), w.Chain()[0].X509().Issuer, len(s.Commits()))
				}
				if seen := s.trusts(); len(seen) != 1 || seen[0] != newCA.Fingerprint() {
					t.Errorf("seen to trust %v", seen)
				}
			})
		})
	}
}

// A group that derives other names by now takes a device in again: its own certificate gets it
// another for the same names, and its factory certificate, once that has ended, one for those
// that it was told of.
func TestNamesChange(t *testing.T) {
	protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
		s := openSite(t)
		w := s.enrolled(by)
		first := w.Chain()[0]
		holder := registrar.Holder{Group: "sensors", ID: "sensor-1", Key: first.SPKI()}
		lasting := registrartest.Leaf("sensor-1", s.now(), s.now().AddDate(0, 3, 0), func(c *x509.Certificate) {
			c.DNSNames = []string{"sensor-1.meters.example"} // as the group had it before
		})
		s.Issue(holder, oldCA.Sign(lasting, first.X509().PublicKey))
		for _, away := range []time.Duration{24 * time.Hour, 200 * 24 * time.Hour} {
			s.must(w.Visit(t.Context()))
			s.pass(away)
			s.Switch(oldCA)
			s.must(w.Visit(t.Context()))
			if held := w.Chain()[0]; s.now().After(held.NotAfter()) || held.SPKI() != first.SPKI() || len(s.Commits()) != 1 {
				t.Errorf("away for %s: %s, commits %d", away, held, len(s.Commits()))
			}
		}
	})
}

// EST's answer is the leaf alone: the intermediate behind it comes from cacerts.
func TestIntermediates(t *testing.T) {
	protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
		s := openSite(t)
		issuing := newCA.Under("Fleet Issuing", begun)
		s.Trust("sensors", admission.Trust{Anchors: both, Intermediates: []pki.Certificate{issuing.Certificate}, Links: []pki.Certificate{link}})
		w := s.enrolled(by)
		s.Switch(issuing, issuing.Certificate)
		s.must(w.Visit(t.Context()))
		if chain := w.Chain(); len(chain) != 2 || !chain[1].Equal(issuing.Certificate) || pki.Verify(chain, newAnchor, s.now()) != nil {
			t.Errorf("the chain is %v", chain)
		}
	})
}

// A server that does not know the device yet (it has not read Git since) tells who names no
// group the roots of all of them: none of another's is taken.
func TestOtherGroupsAnchors(t *testing.T) {
	for name, forget := range map[string]bool{"the group was told": false, "it was not": true} {
		s, stale := openSite(t), openSite(t)
		s.Group("meters", strangeCA, nil)
		stale.Group("meters", strangeCA, nil)
		stale.Trust("meters", registrartest.TrustOf(newAnchor))
		options := s.options(func(o *enrolment.Options) { o.Group = "" })
		w := s.reopen(options)
		s.must(w.Enrol(t.Context()))
		s.must(w.Visit(t.Context()))
		if told := files(t, w.folder)["group"]; told != "sensors\n" {
			t.Fatalf("told to be of %q", told)
		}
		if forget {
			s.must(os.Remove(filepath.Join(w.folder, "group")))
		}
		options.Server = "https://" + stale.Address
		behind := s.reopen(options)
		if err := behind.Visit(t.Context()); !behind.Anchors().Equal(oldAnchor) {
			t.Errorf("%s: anchors %v, %v", name, behind.Anchors(), err)
		}
		options.Server = "https://" + s.Address
		s.must(s.reopen(options).Visit(t.Context()))
		expectFiles(t, w.folder, "anchors.pem", "certificate.pem", "group", "key.pem")
	}
}

// A device that has come to another group, or was told of none before, follows what it is told.
func TestMovedToAnotherGroup(t *testing.T) {
	s := openSite(t)
	s.Group("meters", strangeCA, nil)
	s.Trust("meters", registrartest.TrustOf(both))
	options := s.options(func(o *enrolment.Options) { o.Group = "" })
	s.must(s.reopen(options).Enrol(t.Context()))
	s.must(os.WriteFile(filepath.Join(options.Folder, "group"), []byte("meters\n"), 0o644))
	w := s.reopen(options)
	if err := w.Visit(t.Context()); err == nil || !strings.Contains(err.Error(), "wrong-bundle") {
		t.Errorf("by the roots of its last group: %v", err)
	}
	s.must(w.Visit(t.Context()))
	if told := files(t, w.folder)["group"]; told != "sensors\n" || !w.Anchors().Equal(oldAnchor) {
		t.Errorf("of %q, trusts %v", told, w.Anchors())
	}
}

// Nothing is confirmed that the device's own software has not loaded.
func TestLoadComesFirst(t *testing.T) {
	s := openSite(t)
	var fails error
	loads := 0
	options := s.options(func(o *enrolment.Options) {
		o.Load = func(context.Context) error { loads++; return fails }
	})
	w := s.reopen(options)
	fails = errors.New("the broker's client does not answer")
	if err := w.Visit(t.Context()); !errors.Is(err, fails) || s.trusts() != nil || len(w.Chain()) != 1 {
		t.Errorf("%v, seen to trust %v", err, s.trusts())
	}
	fails = nil
	s.must(w.Visit(t.Context()))
	s.must(w.Visit(t.Context())) // nothing has changed: it is not told again
	if loads != 2 || len(s.trusts()) != 1 {
		t.Errorf("told %d times, seen to trust %v", loads, s.trusts())
	}
	s.Trust("sensors", registrartest.TrustOf(both))
	fails = errors.New("again")
	if err := w.Confirm(t.Context()); !errors.Is(err, fails) || len(s.trusts()) != 1 {
		t.Errorf("%v, seen to trust %v", err, s.trusts())
	}
	fails = nil
	s.must(s.reopen(options).Visit(t.Context())) // after a crash between the two it is told still
	if loads != 4 || len(s.trusts()) != 2 {
		t.Errorf("told %d times, seen to trust %v", loads, s.trusts())
	}
}

// Software that hangs is told to end, and keeps no certificate from being renewed.
func TestLoadHangs(t *testing.T) {
	s := openSite(t)
	w := s.enrolled(func(o *enrolment.Options) {
		o.LoadTimeout = time.Millisecond
		o.Load = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
	})
	first := w.Chain()[0]
	s.Switch(oldCA)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := w.Visit(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "it has not ended within 1ms, and was told to") || ctx.Err() != nil {
		t.Errorf("ended with %v", err)
	}
	second := w.Chain()[0]
	s.Switch(oldCA)
	if err := w.Visit(ctx); err == nil || second.Equal(first) || w.Chain()[0].Equal(second) || s.trusts() != nil {
		t.Errorf("%v: %s is held after %s; seen to trust %v", err, w.Chain()[0], second, s.trusts())
	}
}

// A device whose clock is a little slow takes a certificate that begins in its future; one whose
// clock is wrong is told so.
func TestSlowClock(t *testing.T) {
	for behind, says := range map[time.Duration]string{3 * time.Minute: "", 10 * time.Minute: "by the device's clock it is "} {
		s := openSite(t)
		w := s.open(func(o *enrolment.Options) { o.Clock = func() time.Time { return s.now().Add(-behind) } })
		err := w.Enrol(t.Context())
		if says == "" && (err != nil || len(w.Chain()) != 1) || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s behind: %v", behind, err)
		}
	}
}

// Run goes on through everything, until it is ended.
func TestRun(t *testing.T) {
	s := openSite(t)
	ctx, end := context.WithCancel(t.Context())
	s.FailCommits(registrar.ErrUnreachable)
	var steps []func()
	w := s.open(func(o *enrolment.Options) {
		o.Wait = func(context.Context, time.Duration) error {
			if len(steps) == 0 {
				end()
				return context.Canceled
			}
			steps[0]()
			steps = steps[1:]
			return nil
		}
	})
	steps = []func(){
		func() { s.FailCommits(nil) },
		func() { s.Trust("sensors", registrartest.TrustOf(both)) },
		func() { s.Put(admission.Device{Group: "sensors", ID: "sensor-1", State: v1alpha1.DeviceBlocked}) },
		func() {},
	}
	s.must(w.Run(ctx))
	// the failure of Git, all is well, both anchors, and blocked twice, ever more seldom
	want := []time.Duration{30 * time.Second, time.Hour, time.Hour, 2500 * time.Millisecond, 5 * time.Second}
	if !slices.Equal(w.waits, want) || !w.Anchors().Equal(both) {
		t.Errorf("waited %v; told %v", w.waits, w.events)
	}
	if last := w.events[len(w.events)-1]; last.Kind != enrolment.Failed || !strings.Contains(last.String(), "the device is blocked") {
		t.Errorf("told last %s", last)
	}
}

// What is done before enrolment says so.
func TestNotEnrolled(t *testing.T) {
	w := openSite(t).open()
	for name, do := range map[string]func(context.Context) error{"renew": w.Renew, "confirm": w.Confirm} {
		if err := do(t.Context()); err == nil || !strings.Contains(err.Error(), "enrol it first") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What nobody could work with is refused before anything is written.
func TestOpenRefuses(t *testing.T) {
	s := openSite(t)
	for name, test := range map[string]struct {
		change func(*enrolment.Options)
		says   string
	}{
		"no folder":          {func(o *enrolment.Options) { o.Folder = "" }, "give one"},
		"no clock":           {func(o *enrolment.Options) { o.Clock = nil }, "give time.Now"},
		"no anchors":         {func(o *enrolment.Options) { o.Anchors = nil }, "give the anchors that the device brings"},
		"no id":              {func(o *enrolment.Options) { o.Bootstrap.Certificate = nil }, "give the factory certificate"},
		"an identity it has": {func(o *enrolment.Options) { o.Identity = enrolment.URI }, "has 0 of URI"},
		"protocol":           {func(o *enrolment.Options) { o.Protocol = "scep" }, "give rest or est"},
		"identity":           {func(o *enrolment.Options) { o.Identity = "Name" }, "give one of"},
		"algorithm":          {func(o *enrolment.Options) { o.KeyAlgorithm = "DSA" }, "give ECDSA"},
		"renewal":            {func(o *enrolment.Options) { o.RenewAt = 1 }, "below 1"},
		"interval":           {func(o *enrolment.Options) { o.Interval = -1 }, "above zero"},
		"EST, no group":      {func(o *enrolment.Options) { o.Protocol, o.Group = enrolment.EST, "" }, "give the group"},
		"time to load":       {func(o *enrolment.Options) { o.LoadTimeout = -1 }, "above zero"},
		"plain HTTP":         {func(o *enrolment.Options) { o.Server = "http://x" }, "https://name:port"},
		"a password":         {func(o *enrolment.Options) { o.Server = "https://me:hunter2@x" }, "https://name:port"},
		"a path":             {func(o *enrolment.Options) { o.Server = "https://x/y" }, "https://name:port"},
	} {
		options := s.options(test.change)
		_, err := enrolment.Open(options)
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		if options.Folder != "" && name != "no anchors" {
			if _, err := os.Stat(options.Folder); err == nil {
				t.Errorf("%s: the folder was made", name)
			}
		}
	}
}

// A folder that does not hold together is not worked with.
func TestOpenAgainRefuses(t *testing.T) {
	other := openSite(t).enrolled()
	for name, test := range map[string]struct {
		file, content string
		mode          os.FileMode
		says          string
	}{
		"no key":            {"key.pem", "secretly nothing", 0o600, "put back the one that the device had"},
		"another key":       {"key.pem", files(t, other.folder)["key.pem"], 0o600, "do not belong together"},
		"a key for all":     {"key.pem", files(t, other.folder)["key.pem"], 0o644, "chmod 600"},
		"half certificates": {"certificate.pem", "-----BEGIN CERTIFICATE-----\n", 0o644, "move it away"},
		"empty anchors":     {"anchors.pem", "", 0o644, "move it away"},
	} {
		s := openSite(t)
		options := s.options()
		s.must(s.reopen(options).Enrol(t.Context()))
		path := filepath.Join(options.Folder, test.file)
		s.must(os.WriteFile(path, []byte(test.content), test.mode))
		s.must(os.Chmod(path, test.mode))
		if _, err := enrolment.Open(options); err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "secretly") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The words for a device's id are those of the documents.
func TestIdentities(t *testing.T) {
	for ours, theirs := range map[enrolment.Identity]v1alpha1.Identity{
		enrolment.SubjectCommonName: v1alpha1.IdentitySubjectCommonName, enrolment.SubjectSerialNumber: v1alpha1.IdentitySubjectSerialNumber,
		enrolment.DNSName: v1alpha1.IdentityDNSName, enrolment.URI: v1alpha1.IdentityURI, enrolment.Fingerprint: v1alpha1.IdentityFingerprint,
	} {
		if string(ours) != string(theirs) {
			t.Errorf("%s is not %s", ours, theirs)
		}
	}
	s := openSite(t)
	serial := factoryOf(factoryCA, func(c *x509.Certificate) { c.Subject.SerialNumber, c.DNSNames = "42", []string{"x.example"} })
	for identity, want := range map[enrolment.Identity]string{enrolment.SubjectSerialNumber: "42", enrolment.DNSName: "x.example", enrolment.SubjectCommonName: "sensor-1"} {
		if w := s.open(func(o *enrolment.Options) { o.Bootstrap, o.Identity = serial, identity }); w.ID() != want {
			t.Errorf("%s: %s", identity, w.ID())
		}
	}
}
