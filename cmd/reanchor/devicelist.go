package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
)

// deviceListFlags are the flags of the verbs that tell of devices.
type deviceListFlags struct {
	clusterFlags
	folder, group, name      string
	live, behind             bool
	clusterResourceNamespace string
}

func (f *deviceListFlags) bindTo(command *cobra.Command) {
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&f.folder, "folder", ".", "folder of the domain in a clone of its repository")
	set.StringVar(&f.group, "group", "", "group of the devices")
	set.BoolVar(&f.live, "live", false, "ask the cluster how far they are")
	f.bind(command)
	set.StringVar(&f.name, "name", "", "name of the TrustDomain (default: the only one of the namespace)")
	bindClusterResourceNamespace(command, &f.clusterResourceNamespace)
}

func newDeviceList() *cobra.Command {
	var flags deviceListFlags
	command := &cobra.Command{
		Use:   "list",
		Short: "List the devices of a domain's folder, and how far they are",
		Long: `List the devices that a domain's folder declares, in order of their groups and ids. With
--live the cluster is asked for what stands there: whose keys signed the certificates that a
device may show, and until when; which keys it was seen to trust; when it was last heard of.
--behind leaves those that have not moved to the key that shall sign when every rollover is
over: without a certificate of it, or not seen with one and so perhaps showing an older, or
not seen to trust the new root. Nothing is written, and CertificateRequests, Certificates and issuers are
read with get and list alone, as reanchor observe does.`,
		Example: "  reanchor device list --folder clusters/plant --group sensors\n  reanchor device list --folder clusters/plant --live -n plant --behind",
		Args:    cobra.NoArgs,
	}
	flags.bindTo(command)
	command.Flags().BoolVar(&flags.behind, "behind", false, "with --live: only those that have not moved to the key that shall sign")
	output := bindFormat(command, "them", "table", "json")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.validate(); err != nil {
			return err
		}
		if flags.behind && !flags.live {
			return fmt.Errorf("--behind: only the cluster knows: give --live too")
		}
		devices, err := devicesOf(cmd.Context(), flags, time.Now, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if err := writeDevices(cmd.OutOrStdout(), output.chosen, devices, flags.live); err != nil {
			return fmt.Errorf("print the devices: %w", err)
		}
		return nil
	}
	return command
}

func newDeviceShow() *cobra.Command {
	var flags deviceListFlags
	command := &cobra.Command{
		Use:     "show NAME",
		Short:   "Say what is known of one device",
		Long:    `Say what a domain's folder declares of one device and, with --live, how far the cluster has come with it.`,
		Example: "  reanchor device show sensor-0042 --group sensors --folder clusters/plant --live -n plant",
		Args:    cobra.ExactArgs(1),
	}
	flags.bindTo(command)
	_ = command.MarkFlagRequired("group")
	output := bindFormat(command, "it", "table", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		if err := output.validate(); err != nil {
			return err
		}
		devices, err := devicesOf(cmd.Context(), flags, time.Now, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		at := slices.IndexFunc(devices, func(d deviceRow) bool { return d.ID == args[0] })
		if at < 0 {
			return fmt.Errorf("device show %s: %s declares no such device of group %s: list those that it does with reanchor device list --group %s", args[0], flags.folder, flags.group, flags.group)
		}
		if err := writeDevice(cmd.OutOrStdout(), output.chosen, devices[at]); err != nil {
			return fmt.Errorf("print the device: %w", err)
		}
		return nil
	}
	return command
}

// deviceRow is a device as it is printed.
type deviceRow struct {
	Group string               `json:"group"`
	ID    string               `json:"id"`
	State v1alpha1.DeviceState `json:"state"`
	// Key is the SHA-256 of its public key; empty where cert-manager makes it.
	Key  string `json:"key,omitempty"`
	File string `json:"file"`
	// Live is what the cluster says; nil where it was not asked.
	Live *liveRow `json:"live,omitempty"`
}

// liveRow is how far a device is.
type liveRow struct {
	Certificate inventory.State `json:"certificate,omitempty"`
	Why         string          `json:"why,omitempty"`
	Signer      string          `json:"signer,omitempty"`
	Older       []string        `json:"older,omitempty"`
	Ends        time.Time       `json:"ends,omitzero"`
	Wanted      string          `json:"wanted,omitempty"`
	Behind      bool            `json:"behind"`
	Trusts      []string        `json:"trusts,omitempty"`
	Seen        time.Time       `json:"seen,omitzero"`
}

// devicesOf are the devices that are asked for, in order of their groups and ids. What is
// wrong with others is said on stderr.
func devicesOf(ctx context.Context, flags deviceListFlags, now func() time.Time, stderr io.Writer) ([]deviceRow, error) {
	read, err := loadFolder(flags.folder, flags.clusterResourceNamespace)
	if err != nil {
		return nil, err
	}
	standings, err := standingsOf(ctx, read, flags, now)
	if err != nil {
		return nil, err
	}
	if problems := read.Devices.Problems(); len(problems) > 0 {
		fmt.Fprintf(stderr, "reanchor: not listed is what cannot be used: %s: see them with reanchor validate %s\n", counted(len(problems), "problem"), flags.folder)
	}
	var rows []deviceRow
	for _, standing := range standings {
		if (flags.group == "" || standing.Group == flags.group) && (!flags.behind || standing.Behind()) {
			rows = append(rows, rowOf(standing, flags.live))
		}
	}
	return rows, nil
}

// standingsOf the folder's devices, in the cluster if it is to be asked.
func standingsOf(ctx context.Context, read declared, flags deviceListFlags, now func() time.Time) ([]inventory.Standing, error) {
	if !flags.live {
		lane, keys, err := laneOf(read, read.EndState(read.Record), planner.Observed{Record: read.Record}, anyDomain)
		if err != nil {
			return nil, err
		}
		return lane.Standings(keys, now()), nil
	}
	c, err := flags.connect()
	if err != nil {
		return nil, err
	}
	domain, err := c.domainNamed(ctx, flags.name)
	if err != nil {
		return nil, err
	}
	return c.standings(ctx, domain, read, flags.clusterResourceNamespace, now())
}

// standings of a folder's devices in the cluster.
func (c *cluster) standings(ctx context.Context, domain *v1alpha1.TrustDomain, read declared, clusterResourceNamespace string, now time.Time) ([]inventory.Standing, error) {
	e, err := c.endingOf(ctx, domain, read, clusterResourceNamespace)
	if err != nil {
		return nil, fmt.Errorf("look at the cluster for %s/%s: %w", domain.Namespace, domain.Name, err)
	}
	lane, keys, err := e.lane(ctx)
	if err != nil {
		return nil, err
	}
	return lane.Standings(keys, now), nil
}

func rowOf(s inventory.Standing, live bool) deviceRow {
	row := deviceRow{Group: s.Group, ID: s.ID, State: s.State, File: s.File}
	if !s.Key.IsZero() {
		row.Key = v1alpha1.SupersededPrefix + s.Key.String()
	}
	if live {
		row.Live = &liveRow{
			Certificate: s.Certificate, Why: strings.Join(strings.Fields(s.Why), " "), Signer: s.Signer, Older: s.Older, Ends: s.Ends.UTC(),
			Wanted: s.Wanted, Behind: s.Behind(), Trusts: s.Trusts, Seen: s.Seen.UTC(),
		}
	}
	return row
}

// writeDevices prints a table, or JSON.
func writeDevices(out io.Writer, format string, devices []deviceRow, live bool) error {
	if format == "json" {
		return writeJSON(out, append([]deviceRow{}, devices...))
	}
	head := []string{"DEVICE", "STATE", "FILE"}
	if live {
		head = []string{"DEVICE", "STATE", "CERTIFICATE", "SIGNED BY", "UNTIL", "TRUSTS", "SEEN"}
	}
	rows := [][]cell{plain(head...)}
	for _, d := range devices {
		rows = append(rows, d.cells())
	}
	return writeTable(out, paletteFor(out), "", rows)
}

func (d deviceRow) cells() []cell {
	name := d.Group + "/" + d.ID
	if d.Live == nil {
		return plain(name, string(d.State), d.File)
	}
	colour := ""
	if d.Live.Certificate == inventory.StateFailed {
		colour = red
	}
	cells := plain(name, string(d.State), orDash(string(d.Live.Certificate)), orDash(d.Live.signers()), orDash(dated(d.Live.Ends)), orDash(strings.Join(d.Live.Trusts, ", ")), seen(d.Live.Seen))
	cells[2].colour = colour
	return cells
}

// signers are the keys of whose certificates the device may show one, the oldest first.
func (l liveRow) signers() string {
	if l.Signer == "" {
		return strings.Join(l.Older, ", ")
	}
	return strings.Join(append(slices.Clone(l.Older), l.Signer), ", ")
}

// orDash is a cell that is not empty.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// dated is an instant as the table has it; empty if there is none.
func dated(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

func seen(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return dated(at)
}

// writeDevice prints what is known of one device, a line each, or JSON.
func writeDevice(out io.Writer, format string, d deviceRow) error {
	if format == "json" {
		return writeJSON(out, d)
	}
	rows := [][]cell{plain("Device", d.Group+"/"+d.ID), plain("State", string(d.State)), plain("File", d.File)}
	if d.Key != "" {
		rows = append(rows, plain("Public key", d.Key))
	} else {
		rows = append(rows, plain("Public key", "cert-manager makes it, or there is no request"))
	}
	if d.Live != nil {
		rows = append(rows, d.Live.lines()...)
	}
	return writeTable(out, paletteFor(out), "", rows)
}

func (l liveRow) lines() [][]cell {
	rows := [][]cell{plain("Certificate", orDash(string(l.Certificate)))}
	if l.Why != "" {
		rows = append(rows, plain("Because", l.Why))
	}
	return append(rows,
		plain("Signed by", orDash(l.signers())), plain("Until", orDash(dated(l.Ends))), plain("Shall be", orDash(l.Wanted)),
		plain("Trusts", orDash(strings.Join(l.Trusts, ", "))), plain("Last seen", seen(l.Seen)))
}
