package renderer

import (
	"cmp"
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Where the parts of a build lie in its file system. The repository has a folder
// of its own, so that the wrapper stands above it.
const (
	repositoryFolder = "git"
	wrapperFile      = "/kustomization.yaml"
	referencesFile   = "references.yaml"
	manifestsFile    = "manifests.yaml"
)

// references tells kustomize which fields hold the names of what.
//
//go:embed references.yaml
var references []byte

// ourKinds tells kustomize which lists merge by name and which kinds have no
// namespace.
//
//go:embed schema.json
var ourKinds []byte

// object is one object that a build made, and the file that it came from.
type object struct {
	*unstructured.Unstructured
	file string
}

// wrapper is the kustomization on top of a build: it brings the configuration
// without which an overlay breaks our documents.
func wrapper() types.Kustomization {
	return types.Kustomization{
		TypeMeta:       types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Configurations: []string{referencesFile},
		BuildMetadata:  []string{types.OriginAnnotations},
	}
}

// build composes the documents.
func (c *composition) build() ([]object, error) {
	w := wrapper()
	w.Resources = []string{path.Join(repositoryFolder, c.folder)}
	w.Patches = c.clusterBindings()
	made, err := build(w, c.files)
	if err != nil {
		return nil, cmp.Or(c.twice(err), err)
	}
	return made, nil
}

// registered is how kustomize tells of two objects of one kind and name.
var registered = regexp.MustCompile(`already registered id: ([A-Za-z0-9]+)\.[^ /]*/([^ /]+)\.[^ .]+`)

// twice says where both of two objects of one kind and name stand; nil if that is not what
// is wrong, or if a prefix or a suffix has brought them together.
func (c *composition) twice(err error) error {
	id := registered.FindStringSubmatch(err.Error())
	if id == nil {
		return nil
	}
	var places []source
	for _, s := range slices.Concat(c.sources, c.natives) {
		if s.kind == id[1] && s.name == id[2] {
			places = append(places, s)
		}
	}
	if len(places) < 2 {
		return nil
	}
	slices.SortFunc(places, compareSources)
	return fmt.Errorf("%s:%d: %s %s stands in %s:%d already; rename one of them or take it out",
		places[1].file, places[1].line, id[1], id[2], places[0].file, places[0].line)
}

// over applies the composition, a component, over manifests.
func (c *composition) over(manifests []byte) ([]object, error) {
	w := wrapper()
	w.Resources = []string{manifestsFile}
	w.Components = []string{path.Join(repositoryFolder, c.folder)}
	return build(w, c.files, file{"/" + manifestsFile, manifests})
}

// kindClusterBinding is what kustomize takes an IssuerBinding without a namespace
// for, so that the authority it refers to is looked for in every namespace.
const kindClusterBinding = "ClusterIssuerBinding"

// clusterBindings are the patches that tell bindings of scope Cluster from
// those of a namespace. They run after the repository's own kustomizations and
// before names are followed.
func (c *composition) clusterBindings() []types.Patch {
	var patches []types.Patch
	for _, s := range c.sources {
		if s.kind == v1alpha1.KindIssuerBinding && s.scope == string(v1alpha1.ScopeCluster) && s.name != "" {
			patches = append(patches, types.Patch{
				Patch:  `[{"op": "replace", "path": "/kind", "value": "` + kindClusterBinding + `"}]`,
				Target: s.selector(),
			})
		}
	}
	return patches
}

func (s source) selector() *types.Selector {
	selector := new(types.Selector)
	selector.Group, selector.Kind = v1alpha1.GroupVersion.Group, "^"+s.kind+"$"
	selector.Name = regexp.QuoteMeta(s.name)
	selector.Namespace = "default"
	if s.namespace != "" {
		selector.Namespace = regexp.QuoteMeta(s.namespace)
	}
	return selector
}

type file struct {
	name string
	data []byte
}

// build runs kustomize over the wrapper and the repository's files, in memory.
func build(w types.Kustomization, repository map[string][]byte, others ...file) ([]object, error) {
	root, err := yaml.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("write the wrapper: %w", err)
	}
	files := filesys.MakeFsInMemory()
	others = append(others, file{wrapperFile, root}, file{"/" + referencesFile, references})
	for name, data := range repository {
		others = append(others, file{path.Join("/", repositoryFolder, name), data})
	}
	for _, f := range others {
		if err := files.WriteFile(f.name, f.data); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	resources, err := run(files)
	if err != nil {
		return nil, err
	}
	return objects(resources)
}

// kustomize keeps its schema in variables of the process.
var kustomize sync.Mutex

// maxCopied is how many bytes the copy operations of a JSON patch may add: each
// may double the document.
const maxCopied = mebibyte

func init() { jsonpatch.AccumulatedCopySizeLimit = maxCopied }

// run is the one call of kustomize. It is not safe for concurrent use, and it may
// panic.
func run(files filesys.FileSystem) (resources resmap.ResMap, err error) {
	kustomize.Lock()
	defer kustomize.Unlock()
	defer func() {
		if cause := recover(); cause != nil {
			resources, err = nil, fmt.Errorf("kustomize panicked; simplify the last change: %s", plain(fmt.Sprint(cause)))
		}
	}()
	if err := injectSchema(); err != nil {
		return nil, err
	}
	resources, err = krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/")
	if err != nil {
		return nil, fmt.Errorf("compose: %s", plain(err.Error()))
	}
	return resources, nil
}

// injectSchema adds our kinds to kustomize's own schema. A kustomization's
// openapi field would take its place instead, and be parsed at every build.
func injectSchema() error {
	bundle := kyaml.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindTrustBundle}
	if _, known := openapi.IsNamespaceScoped(bundle); known {
		return nil
	}
	if err := openapi.AddSchema(ourKinds); err != nil {
		return fmt.Errorf("add our kinds to kustomize's schema: %w", err)
	}
	return nil
}

var (
	// asFile is told of every folder that kustomize first tried to read as a file.
	asFile = regexp.MustCompile(`accumulation err='accumulating resources from '[^']*': '[^']*' must resolve to a file': `)
	// dumped and quoted are what stood in the repository: as it is, or escaped where
	// the error was quoted once more. They take too much rather than too little.
	dumped       = regexp.MustCompile("(?s) with config: `(\n|\\\\n).*(\n|\\\\n)`")
	quoted       = regexp.MustCompile(`(?s)\[patch: \\*".*"\]`)
	inRepository = regexp.MustCompile(`(^|[^A-Za-z0-9._-])/?` + repositoryFolder + `/`)
	atRoot       = regexp.MustCompile(`'/?` + repositoryFolder + `'`)
)

const maxMessage = 1000

// plain makes one line of kustomize's errors, without the objects that it dumps
// into them and with paths as they are in the repository.
func plain(message string) string {
	message, _, _ = strings.Cut(message, "\n**** ")
	message = asFile.ReplaceAllString(message, "")
	message = dumped.ReplaceAllString(message, "")
	message = quoted.ReplaceAllString(message, "[patch]")
	message = inRepository.ReplaceAllString(message, "$1")
	message = atRoot.ReplaceAllString(message, "'.'")
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + " …"
	}
	return message
}

func objects(resources resmap.ResMap) ([]object, error) {
	var made []object
	for _, r := range resources.Resources() {
		o, err := objectOf(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.file, err)
		}
		made = append(made, o)
	}
	return made, nil
}

const originAnnotation = "config.kubernetes.io/origin"

func objectOf(r *resource.Resource) (object, error) {
	o := object{Unstructured: new(unstructured.Unstructured)}
	origin, err := r.GetOrigin()
	if err != nil {
		return o, err
	}
	if origin != nil {
		o.file = strings.TrimPrefix(origin.Path+origin.ConfiguredIn, repositoryFolder+"/")
	}
	data, err := r.MarshalJSON()
	if err != nil {
		return o, err
	}
	if err := o.UnmarshalJSON(data); err != nil {
		return o, err
	}
	dropAnnotation(o.Unstructured, originAnnotation)
	return o, nil
}

func dropAnnotation(o *unstructured.Unstructured, name string) {
	annotations := o.GetAnnotations()
	delete(annotations, name)
	if len(annotations) == 0 {
		annotations = nil
	}
	o.SetAnnotations(annotations)
}
