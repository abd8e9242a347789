package service_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/fixtures/stage"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/registrartest"
	"github.com/reanchor/reanchor/registrar/service"
)

var (
	domain    = planner.Ref{Namespace: "reanchor-system", Name: "plant"}
	factoryCA = registrartest.Root("Factory", time.Now())
)

const (
	serverName = "registrar.test"
	proofName  = "proof.registrar.test"
)

// documents of the domain: a root, and two groups under it, of which one is approved by pull
// requests.
const documents = `apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: fleet-root, namespace: cert-manager}
spec:
  subject: {commonName: Fleet Root}
  keys: [%s]
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: fleet}
spec: {scope: Cluster, authority: fleet-root}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: fleet-trust}
spec:
  authorities: [fleet-root]
  target: {configMap: {key: ca.crt}, namespaceSelector: {matchLabels: {trust: fleet}}}
`

const group = `---
apiVersion: reanchor.dev/v1alpha1
kind: DeviceGroup
metadata: {name: %s}
spec:
  issuer: {name: fleet, kind: ClusterIssuer}
  namespace: plant
  bootstrap: {certificates: %q, identity: SubjectCommonName}
  approval: %s
  certificate: {duration: 24h, renewBefore: 8h, dnsNames: ["{{ .ID }}.sensors.example"]}
  recovery: {quota: 1}
`

// boxes is a group whose keys cert-manager makes.
const boxes = `---
apiVersion: reanchor.dev/v1alpha1
kind: DeviceGroup
metadata: {name: boxes}
spec:
  issuer: {name: fleet, kind: ClusterIssuer}
  namespace: plant
  keys: Cluster
  bootstrap: {certificates: %q, identity: SubjectCommonName}
  certificate: {duration: 24h, renewBefore: 8h}
`

// boxesCA signs their factory certificates.
var boxesCA = registrartest.Root("Boxes' Factory", time.Now())

// bench is a process of the endpoint, before a real repository and a cluster in memory.
type bench struct {
	t       *testing.T
	remote  *stage.GitServer
	git     *service.Git
	cluster *service.Cluster
	door    *service.Door
	// objects of the cluster, and root that signs in it.
	objects client.Client
	root    *registrartest.Authority
	writer  *gitsource.Writer
	storage string
	address string
	// after is what is known of the branch from elsewhere.
	after atomic.Pointer[gitsource.After]
	// proposed is the group whose pull request was asked for last.
	proposed atomic.Pointer[string]

	mutex  sync.Mutex
	serial int
	landed []string
}

// open a bench whose root has the keys, the first of which signs.
func open(t *testing.T, roots ...*registrartest.Authority) *bench {
	t.Helper()
	b := &bench{t: t, root: roots[0], cluster: service.NewCluster(domain), storage: t.TempDir()}
	b.after.Store(&gitsource.After{})
	b.remote = serveGit(t)
	b.declare("Automatic", roots...)
	b.writer = b.openWriter("copy", stage.Branch, "")
	t.Cleanup(b.writer.Close)
	b.git = service.NewGit(service.GitOptions{
		Writer: b.writer, Folder: ".", Cluster: b.cluster, Landed: b.reconcile,
		Proposed: func(group string) { b.proposed.Store(&group) },
		Proposals: func(group string) (*gitsource.Writer, error) {
			return b.openWriter("proposed-"+group, gitsource.RegistrationBranch(group), stage.Branch), nil
		},
	})
	t.Cleanup(b.git.Close)
	b.must(b.git.Refresh(t.Context()))
	scheme := runtime.NewScheme()
	b.must(applier.AddToScheme(scheme))
	b.objects = fake.NewClientBuilder().WithScheme(scheme).Build()
	b.door = service.NewDoor(b.git, proofName, time.Now)
	b.door.Show(serverCredential(b.root, serverName, proofName))
	return b
}

// serveGit serves an empty repository.
func serveGit(t testing.TB) *stage.GitServer {
	t.Helper()
	remote, err := stage.ServeGit(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remote.Close)
	return remote
}

func (b *bench) openWriter(folder, branch, base string) *gitsource.Writer {
	b.t.Helper()
	writer, err := gitsource.OpenWriter(filepath.Join(b.storage, folder), gitsource.Remote{
		URL: b.remote.URL, Branch: branch, Username: b.remote.Username, Password: b.remote.Password, CA: b.remote.CA,
	}, gitsource.WriterOptions{
		Base: base, Author: gitsource.Author{Name: "registrar", Email: "registrar@example.com"}, Now: time.Now,
		After: func() gitsource.After { return *b.after.Load() },
	})
	b.must(err)
	return writer
}

// declare the domain as a person would, and record its keys as the controller would.
func (b *bench) declare(approval string, roots ...*registrartest.Authority) {
	b.t.Helper()
	files := map[string][]byte{
		"kustomization.yaml": []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [pki.yaml]\n"),
	}
	var keys []string
	for i, root := range roots {
		name := strconv.Itoa(2025 + i)
		state := "Trusted"
		if i == 0 {
			state = "Signing"
		}
		keys = append(keys, fmt.Sprintf("{name: %q, state: %s}", name, state))
		files["anchors/fleet-root/"+name+".pem"] = root.PEM()
	}
	files["pki.yaml"] = []byte(fmt.Sprintf(documents, strings.Join(keys, ", ")) + fmt.Sprintf(group, "sensors", factoryCA.PEM(), approval) + fmt.Sprintf(boxes, boxesCA.PEM()))
	_, err := b.remote.Commit(b.t.Context(), "The site's PKI", files)
	b.must(err)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// reconcile is the controller and cert-manager at once: each device in Git gets a certificate
// for its key.
func (b *bench) reconcile(commit string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.landed = append(b.landed, commit)
	listed, err := inventory.Read(b.writer.Newest().FS(), ".", []v1alpha1.DeviceGroup{{Metadata: v1alpha1.Metadata{Name: "sensors"}}}, nil)
	if err != nil {
		b.t.Error(err)
		return
	}
	for device := range listed.All() {
		b.issue(*device)
	}
}

// issue a CertificateRequest with a certificate, unless the device has one for its key.
func (b *bench) issue(device inventory.Device) {
	holder := registrar.Holder{Group: device.Group, ID: device.ID, Key: device.Key}
	if _, has := b.cluster.Newest(holder); has {
		return
	}
	b.serial++
	block, _ := pem.Decode([]byte(device.Request))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		b.t.Error(err)
		return
	}
	template := registrartest.Leaf(device.ID, time.Now().Add(-time.Minute), time.Now().Add(24*time.Hour), func(c *x509.Certificate) { c.DNSNames = request.DNSNames })
	object := &certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "plant", Name: fmt.Sprintf("%s-%d", v1alpha1.DeviceObjectName(device.Group, device.ID), b.serial), UID: types.UID(fmt.Sprint(b.serial)),
			Labels:      map[string]string{v1alpha1.LabelDomainName: domain.Name, v1alpha1.LabelDomainNamespace: domain.Namespace, v1alpha1.LabelDeviceGroup: device.Group},
			Annotations: map[string]string{v1alpha1.AnnotationDevice: device.ID, v1alpha1.AnnotationRenewal: strconv.Itoa(b.serial)},
		},
		Spec: certmanagerv1.CertificateRequestSpec{Request: []byte(device.Request)},
		Status: certmanagerv1.CertificateRequestStatus{
			Certificate: b.root.Sign(template, request.PublicKey).PEM(),
			Conditions:  []certmanagerv1.CertificateRequestCondition{{Type: certmanagerv1.CertificateRequestConditionReady, Status: certmanagermeta.ConditionTrue}},
		},
	}
	if err := b.objects.Create(context.Background(), object); err != nil {
		b.t.Error(err)
	}
	b.cluster.Handler().OnAdd(object, false)
}

// request of a device as the cluster holds it now, after what it shows was told to the watch.
func (b *bench) request(id string) *certmanagerv1.CertificateRequest {
	b.t.Helper()
	newest := b.requestOf(id)
	if newest != nil {
		b.cluster.Handler().OnUpdate(nil, newest)
	}
	return newest
}

// requestOf a device as the cluster holds it now.
func (b *bench) requestOf(id string) *certmanagerv1.CertificateRequest {
	b.t.Helper()
	var list certmanagerv1.CertificateRequestList
	b.must(b.objects.List(b.t.Context(), &list))
	var newest *certmanagerv1.CertificateRequest
	for i := range list.Items {
		if list.Items[i].Annotations[v1alpha1.AnnotationDevice] == id {
			newest = &list.Items[i]
		}
	}
	return newest
}

// serve the endpoint, and write evidence down as it comes.
func (b *bench) serve() {
	b.t.Helper()
	evidence := service.NewEvidence(service.EvidenceOptions{
		Applier: &applier.Applier{Reader: b.objects, Writer: b.objects}, Cluster: b.cluster, Git: b.git, Every: 20 * time.Millisecond, Fresh: time.Nanosecond,
		Failed: func(err error) { b.t.Error(err) },
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	b.address = listener.Addr().String()
	server := registrar.New(registrar.Options{
		Fleet: b.git.Fleet, Commits: b.git, Certificates: b.cluster, Evidence: evidence, Serving: b.door.Serving, Rules: b.git, Clock: time.Now,
		Limits: registrar.Limits{Hold: 10 * time.Second, PerDevice: 1000},
	})
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { evidence.Run(ctx) })
	running.Go(func() {
		if err := server.Serve(listener); err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(func() {
		end()
		last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(last) // tests leave connections open
		running.Wait()
	})
}

func serverCredential(root *registrartest.Authority, names ...string) tls.Certificate {
	return root.Credential(registrartest.Leaf(names[0], time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}), registrartest.Key())
}

// sensor is a device, with its factory certificate and the one that it was given.
type sensor struct {
	b       *bench
	id      string
	key     *ecdsa.PrivateKey
	shows   tls.Certificate
	anchors pki.Anchors
}

func (b *bench) sensor(id string) *sensor {
	factory := factoryCA.Credential(registrartest.Leaf(id, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)), registrartest.Key())
	return &sensor{b: b, id: id, key: registrartest.Key(), shows: factory, anchors: pki.NewAnchors(b.root.Certificate)}
}

// ask the endpoint by one of its names.
func (s *sensor) ask(name, method, path, body string) (int, []byte, http.Header, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.anchors.PEM())
	transport := &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, Certificates: []tls.Certificate{s.shows}},
	}
	request, err := http.NewRequest(method, "https://"+s.b.address+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, content, response.Header, err
}

// register with the sensor's key, and show the certificate that comes back from now on.
func (s *sensor) register() (int, string) {
	csr := registrartest.CSR(s.key, s.id, []string{s.id + ".sensors.example"})
	body, err := json.Marshal(map[string]string{"request": registrartest.PEM(csr)})
	if err != nil {
		return 0, err.Error()
	}
	status, answer, _, err := s.ask(serverName, "POST", "/v1/devices", string(body))
	if err != nil {
		return 0, err.Error()
	}
	var told struct{ Certificate, Anchors string }
	if status == http.StatusCreated && json.Unmarshal(answer, &told) == nil {
		chain, _ := pki.ParsePEM([]byte(told.Certificate))
		anchors, _ := pki.ParsePEM([]byte(told.Anchors))
		s.shows, s.anchors = registrartest.With(s.key, chain...), pki.NewAnchors(anchors...)
	}
	return status, string(answer)
}

// eventually fails unless a condition comes to hold.
func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			b.t.Fatal("it did not come to be: " + what)
		}
	}
}
