package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/enrolment"
	"github.com/reanchor/reanchor/pki"
)

// enrolFlags are the flags of reanchor device enrol.
type enrolFlags struct {
	options          enrolment.Options
	protocol         string
	identity         string
	algorithm        string
	anchors          string
	certificate, key string
	onChange         string
	once, watch      bool
	wait             time.Duration
}

func newDeviceEnrol() *cobra.Command {
	var flags enrolFlags
	command := &cobra.Command{
		Use:   "enrol",
		Short: "Enrol as a device, and keep its certificate and anchors current",
		Long: `Enrol as a device at reanchor registrar, and keep its certificate and anchors current. This is
run on the device itself: it needs no cluster and no repository.

The first time it makes a private key, which stays in the folder, shows the factory
certificate, and stores what it gets. After that it shows the certificate that it has. Each
time it fetches the anchors, fetches another certificate if there is one, has --on-change
load both, and confirms to the server what the device trusts now: in a rollover the server
waits for that.

  key.pem          the private key, PKCS#8, for its owner alone
  certificate.pem  the certificate, and the intermediates that follow it
  anchors.pem      the roots to trust

With --watch it stays, and comes by again in each interval and before the certificate ends.
Otherwise it does so once, and is to be run again: by a timer, every day say. The lines on
stdout say what has changed; what failed and is tried again is told on stderr.`,
		Example: `  reanchor device enrol --server https://register.example.com:8443 --group sensors \
    --folder /var/lib/sensor --anchors factory/anchors.pem \
    --bootstrap-cert factory/cert.pem --bootstrap-key factory/key.pem \
    --dns-name '{{ .ID }}.sensors.example' --watch`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runDeviceEnrol(cmd.Context(), flags, time.Now, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return fmt.Errorf("device enrol: %w", err)
			}
			return nil
		},
	}
	flags.bind(command)
	return command
}

func (f *enrolFlags) bind(command *cobra.Command) {
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&f.options.Server, "server", "", "address of the registration endpoint: https://name:port")
	set.StringVar(&f.options.Group, "group", "", "device group; required with est, whose label it is (default: the one that takes the factory certificate)")
	set.StringVar(&f.protocol, "protocol", string(enrolment.REST), "how to ask for certificates: rest or est")
	set.StringVar(&f.options.Folder, "folder", "", "folder for the device's key, certificate and anchors")
	set.StringVar(&f.anchors, "anchors", "", "file with the roots that the device brings from its factory; the folder's count once it has some")
	set.StringVar(&f.certificate, "bootstrap-cert", "", "file with the factory certificate and its intermediates")
	set.StringVar(&f.key, "bootstrap-key", "", "file with its key")
	set.StringVar(&f.identity, "identity", string(enrolment.SubjectCommonName), "part of the factory certificate that is the device's id, as the group says")
	set.StringVar(&f.options.ID, "id", "", "the device's id, in place of what the factory certificate says")
	set.StringArrayVar(&f.options.DNSNames, "dns-name", nil, "DNS name that the certificate is for, as in the group's dnsNames; may be given several times")
	set.StringVar(&f.algorithm, "key-algorithm", string(enrolment.ECDSA), "algorithm of the key that is made: ECDSA, Ed25519 or RSA")
	set.StringVar(&f.options.ProofName, "proof-name", "", "TLS name of the server by which the device proves which anchor it trusts (default: none)")
	set.StringVar(&f.onChange, "on-change", "", "command for sh that has the device's own software load what has changed; nothing is confirmed until it succeeds")
	set.DurationVar(&f.options.LoadTimeout, "on-change-timeout", enrolment.DefaultLoadTimeout, "how long that may take before it is ended, and run again later")
	set.BoolVar(&f.once, "once", false, "come by once, and end (default)")
	set.BoolVar(&f.watch, "watch", false, "stay, and come by again and again")
	set.DurationVar(&f.wait, "wait", 5*time.Minute, "with --once: how long to wait for the first certificate")
	set.DurationVar(&f.options.Interval, "interval", enrolment.DefaultInterval, "with --watch: how long to wait before coming by again")
	set.Float64Var(&f.options.RenewAt, "renew-at", enrolment.DefaultRenewAt, "part of a certificate's life after which another is asked for")
	command.MarkFlagsMutuallyExclusive("once", "watch")
	command.MarkFlagsRequiredTogether("bootstrap-cert", "bootstrap-key")
	for _, required := range []string{"server", "folder"} {
		_ = command.MarkFlagRequired(required)
	}
}

// device that the flags describe, which tells what it does.
func (f *enrolFlags) device(now func() time.Time, stdout, stderr io.Writer) (*enrolment.Device, error) {
	options := f.options
	options.Protocol, options.Identity = enrolment.Protocol(f.protocol), enrolment.Identity(f.identity)
	options.KeyAlgorithm, options.Clock = enrolment.KeyAlgorithm(f.algorithm), now
	var err error
	if options.Anchors, err = readAnchors(f.anchors); err != nil {
		return nil, err
	}
	if options.Bootstrap, err = readBootstrap(f.certificate, f.key); err != nil {
		return nil, err
	}
	if f.onChange != "" {
		options.Load = func(ctx context.Context) error { return runShell(ctx, f.onChange, stderr) }
	}
	options.Report = func(event enrolment.Event) {
		to := stdout
		if event.Kind == enrolment.Failed {
			to = stderr
		}
		_, _ = fmt.Fprintln(to, event) // what it tells is done already
	}
	return enrolment.Open(options)
}

// readAnchors of a file; none if no file is given.
func readAnchors(file string) (pki.Anchors, error) {
	if file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--anchors: %w: give the file that the device brings from its factory", err)
	}
	certificates, err := pki.ParsePEM(content)
	if err != nil {
		return nil, fmt.Errorf("--anchors %s: %w: give certificates in PEM and nothing else", file, err)
	}
	return pki.NewAnchors(certificates...), nil
}

func readBootstrap(certificate, key string) (tls.Certificate, error) {
	if certificate == "" {
		return tls.Certificate{}, nil
	}
	return enrolment.LoadBootstrap(certificate, key)
}

// letGo is how long after a command's end what it has begun may hold its output.
const letGo = 2 * time.Second

// runShell runs a command that says what it has to say on stderr. What it leaves behind, and
// still writes there, is not waited for.
func runShell(ctx context.Context, command string, stderr io.Writer) error {
	shell := exec.CommandContext(ctx, "sh", "-c", command)
	shell.Stdout, shell.Stderr = stderr, stderr
	shell.WaitDelay = letGo
	if err := shell.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) { // that one: it succeeded
		return fmt.Errorf("--on-change %q: %w", command, err)
	}
	return nil
}

// runDeviceEnrol comes by once, or until ctx ends.
func runDeviceEnrol(ctx context.Context, flags enrolFlags, now func() time.Time, stdout, stderr io.Writer) error {
	device, err := flags.device(now, stdout, stderr)
	if err != nil {
		return err
	}
	if flags.watch {
		return device.Run(ctx)
	}
	if flags.wait <= 0 {
		return fmt.Errorf("--wait %s: give a time above zero", flags.wait)
	}
	patient, cancel := context.WithTimeoutCause(ctx, flags.wait, errors.New("--wait is over"))
	defer cancel()
	if err := device.Enrol(patient); err != nil {
		return err
	}
	return device.Visit(ctx)
}
