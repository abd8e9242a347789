package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

func newDeviceImport() *cobra.Command {
	var flags deviceFlags
	command := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Write the commit that adds the devices of a list",
		Long: `Write the commit that adds the devices of a list. Its first line names the columns: group,
id and csr, the file of the device's certificate signing request in PEM, as seen from the
list's folder. In a group for which cert-manager makes the keys it stays empty.

  group,id,csr
  sensors,sensor-0042,requests/sensor-0042.pem
  meters,meter-1,

The list is checked first, and each mistake told with file, line and column. Either all
devices are written, each to a file of its own below devices/, or none is; no file is
overwritten. They are committed with git, as you: your name, your signature, your hooks.
Nothing is pushed.`,
		Example: "  reanchor device import fleet.csv --folder clusters/plant\n  git push",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runDeviceImport(cmd.Context(), args[0], flags, time.Now(), cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return fmt.Errorf("device import: %w", err)
			}
			return nil
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&flags.folder, "folder", ".", "folder of the domain in a clone of its repository")
	set.BoolVar(&flags.noCommit, "no-commit", false, "write the files and leave the commit to you")
	bindClusterResourceNamespace(command, &flags.clusterResourceNamespace)
	return command
}

// runDeviceImport checks the list, writes what it says, sees that the folder is valid with
// it, and commits it. What is refused leaves the folder as it was.
func runDeviceImport(ctx context.Context, list string, flags deviceFlags, now time.Time, stdout, stderr io.Writer) error {
	read, err := loadFolder(flags.folder, flags.clusterResourceNamespace)
	if err != nil {
		return err
	}
	devices, err := readDeviceList(list, read.Desired.Groups)
	if err != nil {
		return err
	}
	written, err := writeDeviceFiles(flags.folder, devices)
	if err == nil {
		err = stillValid(flags.folder, flags.clusterResourceNamespace, now)
	}
	if err != nil {
		return errors.Join(err, undo(written))
	}
	for _, device := range devices {
		if _, err := fmt.Fprintln(stdout, filepath.Join(flags.folder, device.path)); err != nil {
			return fmt.Errorf("print the files: %w", err)
		}
	}
	if flags.noCommit {
		_, err := fmt.Fprintf(stderr, "reanchor: %s written: commit them and push\n", counted(len(devices), "device"))
		return err
	}
	if err := commitNewFiles(ctx, flags.folder, written, "Add "+counted(len(devices), "device"), stderr); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "reanchor: %s committed; see what follows with `reanchor plan %s --base HEAD~1 --head HEAD`, and push\n", counted(len(devices), "device"), flags.folder)
	return err
}

// deviceFileToWrite declares a device; its path is seen from the domain's folder.
type deviceFileToWrite struct {
	path    string
	content []byte
}

// deviceColumns of a list, in this order.
var deviceColumns = []string{"group", "id", "csr"}

// maxListMistakes is how many mistakes of a list are told.
const maxListMistakes = 20

// deviceList is a list that is being read.
type deviceList struct {
	file     string
	groups   map[string]*v1alpha1.DeviceGroup
	at       func(field int) (line, column int)
	seen     map[string]int // the lines of devices, by their paths
	devices  []deviceFileToWrite
	mistakes []error
	more     int
}

func (l *deviceList) refuse(field int, format string, args ...any) {
	if len(l.mistakes) == maxListMistakes {
		l.more++
		return
	}
	line, column := l.at(field)
	l.mistakes = append(l.mistakes, fmt.Errorf("%s:%d:%d: %s: %s", l.file, line, column, deviceColumns[field], fmt.Sprintf(format, args...)))
}

// readDeviceList reads a list, and checks each of its devices beside the groups. Its error has
// a line for each mistake.
func readDeviceList(file string, groups []v1alpha1.DeviceGroup) ([]deviceFileToWrite, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w: give a list of devices", err)
	}
	defer opened.Close() //nolint:errcheck // it was only read
	records := csv.NewReader(opened)
	records.FieldsPerRecord = len(deviceColumns)
	l := &deviceList{file: file, groups: map[string]*v1alpha1.DeviceGroup{}, at: records.FieldPos, seen: map[string]int{}}
	for at := range groups {
		l.groups[groups[at].Metadata.Name] = &groups[at]
	}
	if head, err := records.Read(); err != nil || !slices.Equal(head, deviceColumns) {
		return nil, fmt.Errorf("%s:1:1: the first line does not name the columns: begin the list with %s", file, strings.Join(deviceColumns, ","))
	}
	for {
		record, err := records.Read()
		if errors.Is(err, io.EOF) {
			return l.devices, l.err()
		}
		if err != nil {
			return nil, l.unreadable(err)
		}
		l.add(record[0], record[1], record[2])
	}
}

// unreadable says where a list is no CSV; what comes after that cannot be told.
func (l *deviceList) unreadable(err error) error {
	if parse, is := errors.AsType[*csv.ParseError](err); is {
		err = fmt.Errorf("%s:%d:%d: %w: a line has %s, with commas between", l.file, parse.Line, parse.Column, parse.Err, strings.Join(deviceColumns, ", "))
	}
	return errors.Join(errors.Join(l.mistakes...), err)
}

func (l *deviceList) err() error {
	if l.more > 0 {
		l.mistakes = append(l.mistakes, fmt.Errorf("and %d more mistakes: mend these first", l.more))
	}
	if len(l.mistakes) == 0 && len(l.devices) == 0 {
		return fmt.Errorf("%s: lists no device: write one a line below %s", l.file, strings.Join(deviceColumns, ","))
	}
	return errors.Join(l.mistakes...)
}

// add a device, if nothing is wrong with it.
func (l *deviceList) add(group, id, csr string) {
	declared := l.groups[group]
	if declared == nil {
		l.refuse(0, "there is no DeviceGroup %q: declare it, or name another", group)
		return
	}
	if problem := v1alpha1.DeviceIDProblem(id); problem != "" {
		l.refuse(1, "%q %s: it is not the id of a device", id, problem)
		return
	}
	path := v1alpha1.DevicePath(group, id)
	line, _ := l.at(0)
	if first, twice := l.seen[path]; twice {
		l.refuse(1, "device %s/%s stands on line %d already: take one of them out", group, id, first)
		return
	}
	l.seen[path] = line
	request, err := l.request(csr)
	if err != nil {
		l.refuse(2, "%s", err)
		return
	}
	l.take(path, declared, id, request)
}

// request reads a request's file; there is none without a name.
func (l *deviceList) request(csr string) (string, error) {
	if csr == "" {
		return "", nil
	}
	if strings.ContainsFunc(csr, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("%q does not print: name the file of the device's certificate signing request", csr)
	}
	if !filepath.IsAbs(csr) {
		csr = filepath.Join(filepath.Dir(l.file), csr)
	}
	info, err := os.Stat(csr)
	if err != nil {
		return "", fmt.Errorf("%w: name the file of the device's certificate signing request", err)
	}
	if info.Size() > v1alpha1.MaxFileSize || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no certificate signing request: name the device's", csr)
	}
	text, err := os.ReadFile(csr)
	if err != nil {
		return "", fmt.Errorf("%w: name the file of the device's certificate signing request", err)
	}
	return string(text), nil
}

// take the device's document, as the endpoint would write it, if it is valid.
func (l *deviceList) take(path string, group *v1alpha1.DeviceGroup, id, request string) {
	content, err := yaml.Marshal(v1alpha1.Device{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindDevice},
		Metadata: v1alpha1.Metadata{Name: id},
		Spec:     v1alpha1.DeviceSpec{Group: group.Metadata.Name, State: v1alpha1.DeviceActive, Request: request},
	})
	if err != nil {
		l.refuse(1, "%s", err)
		return
	}
	documents, err := v1alpha1.Decode(path, content)
	var problems v1alpha1.ErrorList
	if !errors.As(err, &problems) && len(documents) == 1 {
		problems = v1alpha1.ValidateDevice(documents[0], l.groups)
	}
	for _, p := range problems {
		l.refuse(columnOf(p.Field), "%s", p.Message)
	}
	if len(problems) == 0 {
		l.devices = append(l.devices, deviceFileToWrite{path, content})
	}
}

// columnOf the field of a document.
func columnOf(field string) int {
	switch field {
	case "spec.group":
		return 0
	case "spec.request":
		return 2
	}
	return 1
}

// writeDeviceFiles writes the files, and overwrites none. Those that were written are told
// even after an error.
func writeDeviceFiles(folder string, devices []deviceFileToWrite) (written []string, err error) {
	for _, device := range devices {
		at := filepath.Join(folder, filepath.FromSlash(device.path))
		switch err := writeFile(at, device.content); {
		case errors.Is(err, fs.ErrExist):
			return written, fmt.Errorf("%s is there already: take its device out of the list; reanchor device block and retire change devices", at)
		case err != nil:
			return append(written, at), fmt.Errorf("write %s: %w: see that there is room, and that you may write there", at, err)
		}
		written = append(written, at)
	}
	return written, nil
}

// undo removes files that were written, and the folders that are empty by that, shard, group
// and devices.
func undo(written []string) error {
	var errs []error
	for _, at := range written {
		if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for range 3 {
			at = filepath.Dir(at)
			_ = os.Remove(at) // one that is not empty stays
		}
	}
	return errors.Join(errs...)
}

// commitNewFiles commits these files and nothing else, with git itself.
func commitNewFiles(ctx context.Context, folder string, files []string, message string, stderr io.Writer) error {
	var paths bytes.Buffer
	for _, file := range files {
		absolute, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		paths.WriteString(absolute + "\x00")
	}
	for _, arguments := range [][]string{{"add"}, {"commit", "-q", "-m", message, "--only"}} {
		arguments = slices.Concat([]string{"-C", folder}, arguments, []string{"--pathspec-from-file=-", "--pathspec-file-nul"})
		command := exec.CommandContext(ctx, "git", arguments...)
		var said bytes.Buffer
		command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(paths.Bytes()), stderr, &said
		if err := command.Run(); err != nil {
			return fmt.Errorf("the files are written, and git did not commit them: %w: %s; commit them by hand", err, bytes.TrimSpace(said.Bytes()))
		}
	}
	return nil
}
