package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/renderer"
)

// validation looks at one domain's folder in a repository, and collects what is wrong
// with it.
type validation struct {
	files  fs.FS
	folder string
	found  []problem
	// leaking are the files that hold a private key.
	leaking map[string]bool
	// listed are its devices, where they were read already, and clean the contents that were
	// searched for private keys already.
	listed *inventory.Inventory
	clean  *cleanBlobs
}

// all looks at everything. What fails does not keep the rest from being looked at.
func (v *validation) all(clusterResourceNamespace string, now time.Time) {
	v.privateKeys()
	record, err := renderer.LoadRecord(v.files, v.folder, renderer.Limits{})
	v.refuse(path.Join(v.folder, planner.RecordFolder), err)
	loaded, err := renderer.Load(v.files, v.folder, loadOptions(clusterResourceNamespace, record))
	v.refuse(v.kustomization(), err)
	if err != nil {
		return
	}
	v.add(severityWarning, loaded.Warnings)
	refused, warned := loaded.CheckRecord(record, now)
	v.add(severityError, refused)
	v.add(severityWarning, warned)
	v.devices(loaded)
	v.policies(loaded, record, now)
}

// devices tells of what is wrong with each.
func (v *validation) devices(loaded *renderer.Loaded) {
	if v.listed == nil {
		read, err := inventory.Read(v.files, v.folder, loaded.Desired.Groups, nil)
		v.refuse(path.Join(v.folder, v1alpha1.DevicesFolder), err)
		if err != nil {
			return
		}
		v.listed = read
	}
	v.add(severityError, v.listed.Problems())
}

// kustomization is where the folder's documents are listed.
func (v *validation) kustomization() string { return path.Join(v.folder, "kustomization.yaml") }

func (v *validation) add(severity string, list v1alpha1.ErrorList) {
	for _, e := range list {
		v.found = append(v.found, problem{Severity: severity, File: e.File, Line: e.Line, Field: e.Field, Message: e.Message})
	}
}

// refuse adds an error at the places that it names, or else at the file given.
func (v *validation) refuse(file string, err error) {
	var list v1alpha1.ErrorList
	if errors.As(err, &list) || err == nil {
		v.add(severityError, list)
		return
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // without what was being done: the line says where
	}
	v.add(severityError, v1alpha1.ErrorList{v.placed(file, strings.Join(strings.Fields(err.Error()), " "))})
}

// placed tells the file that a message begins with, "pki.yaml: …" or "pki.yaml:3: …",
// from the message.
func (v *validation) placed(file, message string) v1alpha1.Error {
	at, rest, _ := strings.Cut(message, ": ")
	name, number, _ := strings.Cut(at, ":")
	if info, err := fs.Lstat(v.files, name); err != nil || info.IsDir() {
		return v1alpha1.Error{File: file, Line: 1, Message: message}
	}
	line, err := strconv.Atoi(number)
	if err != nil {
		line = 1
	}
	return v1alpha1.Error{File: name, Line: line, Message: rest}
}

// maxFileBytes is the largest file that the controller reads of a repository.
const maxFileBytes = 8 << 20

// privateKeys looks into every file of the folder, whatever its name.
func (v *validation) privateKeys() {
	err := fs.WalkDir(v.files, v.folder, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			v.refuse(name, fmt.Errorf("look for private keys: %w", err))
			return nil
		case entry.Name() == ".git" && entry.IsDir():
			return fs.SkipDir
		case entry.Type().IsRegular():
			v.refuse(name, v.privateKeysIn(name, entry))
		}
		return nil
	})
	v.refuse(v.folder, err)
}

func (v *validation) privateKeysIn(name string, entry fs.DirEntry) error {
	if v.clean.has(entry) {
		return nil
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if info.Size() > maxFileBytes {
		return fmt.Errorf("has %d bytes, and the controller reads at most %d of a file, to see that it holds no private key: take it out", info.Size(), maxFileBytes)
	}
	data, err := fs.ReadFile(v.files, name)
	if err != nil {
		return err
	}
	for _, violation := range policies.CheckFile(name, data) {
		v.leaking[name] = true
		at := v.placed(name, violation.Subject+": "+violation.Message+": "+violation.Mend)
		v.add(severityOf(violation), v1alpha1.ErrorList{at})
	}
	return nil
}

func severityOf(violation policies.Violation) string {
	if violation.Severity == policies.Deny {
		return severityError
	}
	return severityWarning
}

// anyDomain stands for the TrustDomain, which a repository does not name.
var anyDomain = planner.Ref{Namespace: "reanchor", Name: "validate"}

// policies holds the rules against what the repository comes to, overlay included.
func (v *validation) policies(loaded *renderer.Loaded, record planner.Record, now time.Time) {
	target := loaded.EndState(record)
	manifests, err := loaded.Render(target, anyDomain)
	atlas := atlasOf(loaded, manifests, v.kustomization())
	if err != nil {
		v.refuse(atlas.overlay, err)
		return
	}
	input := policies.Input{
		Plan: planner.Plan{Target: target}, Manifests: manifests, Documents: loaded.Documents,
		Observed: planner.Observed{Record: record}, Now: now,
	}
	for _, violation := range policies.Check(input) {
		file, line := atlas.placeOf(violation)
		if !v.told(violation, atlas.manifests[violation.Subject], file) {
			v.found = append(v.found, problem{Severity: severityOf(violation), File: file, Line: line, Message: ruled(violation), violation: violation})
		}
	}
}

// atlas tells where in a repository the subjects of violations stand.
type atlas struct {
	loaded    *renderer.Loaded
	manifests map[string]*unstructured.Unstructured
	documents map[string]v1alpha1.Error
	// overlay is the file of what stands nowhere by itself.
	overlay string
}

func atlasOf(loaded *renderer.Loaded, manifests []*unstructured.Unstructured, kustomization string) atlas {
	overlay, _ := loaded.Origin(new(unstructured.Unstructured))
	return atlas{loaded: loaded, manifests: bySubject(manifests), documents: placesOf(loaded), overlay: cmp.Or(overlay, kustomization)}
}

// placeOf a violation: its document's, or else its manifest's, or else the overlay.
func (a atlas) placeOf(violation policies.Violation) (file string, line int) {
	if place, isDocument := a.documents[violation.Subject]; isDocument {
		return place.File, place.Line
	}
	if manifest := a.manifests[violation.Subject]; manifest != nil {
		return a.loaded.Origin(manifest)
	}
	return a.overlay, 1
}

// ruled is a violation in the words of validate. The rule's name comes last, for an exemption
// must name it.
func ruled(violation policies.Violation) string {
	return violation.Subject + ": " + violation.Message + ": " + violation.Mend + " (" + violation.Rule + ")"
}

// placesOf are where the documents stand, by the words in which a violation names them.
func placesOf(loaded *renderer.Loaded) map[string]v1alpha1.Error {
	places := map[string]v1alpha1.Error{}
	for _, document := range loaded.Documents {
		metadata := v1alpha1.MetadataOf(document)
		file, line := loaded.OriginOf(document)
		places[v1alpha1.KindOf(document)+" "+planner.Ref{Namespace: metadata.Namespace, Name: metadata.Name}.String()] = v1alpha1.Error{File: file, Line: line}
	}
	return places
}

// told reports whether a violation has been found in another way, and better: a private
// key in the file itself, with its line; how long a CA lives in its document, or, once
// it was issued, in the record; that there is no soak, in the document.
func (v *validation) told(violation policies.Violation, manifest *unstructured.Unstructured, file string) bool {
	switch violation.Rule {
	case policies.RulePrivateKey:
		return v.leaking[file]
	case policies.RuleNoSoak:
		return violation.Severity == policies.Warn
	case policies.RuleCAOutlivesLeaves:
		return manifest != nil && manifest.GetLabels()[v1alpha1.LabelKey] != ""
	}
	return false
}

// bySubject are the manifests by the words in which a violation names them.
func bySubject(manifests []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	subjects := make(map[string]*unstructured.Unstructured, len(manifests))
	for _, manifest := range manifests {
		ref := planner.Ref{Namespace: manifest.GetNamespace(), Name: manifest.GetName()}
		subjects[manifest.GetKind()+" "+ref.String()] = manifest
	}
	return subjects
}
