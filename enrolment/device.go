package enrolment

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/reanchor/reanchor/pki"
)

// Device is one that enrols. Its state may be read at any time; what changes it is called by
// one goroutine.
type Device struct {
	options Options
	server  *url.URL
	folder  folder
	id      string
	state   atomic.Pointer[held]
	// confirmed is the hash of the bundle that the server was last told of, and proved that of
	// the bundle at the last handshake with the proof name.
	confirmed, proved pki.Fingerprint
	// group whose anchors are asked for; empty: the server has not told it yet.
	group string
}

// held is what lies in the folder. It is replaced, and does not change.
type held struct {
	key crypto.Signer
	// chain is the certificate and its intermediates; empty: there is none yet.
	chain   []pki.Certificate
	anchors pki.Anchors
}

// Open reads a device's folder, and makes in it what there is to make without a server: the
// folder, the key, and the anchors that the device brings from its factory.
func Open(options Options) (*Device, error) {
	options = options.orDefault()
	server, err := options.validate()
	if err != nil {
		return nil, fmt.Errorf("open the device: %w", err)
	}
	d := &Device{options: options, server: server, folder: folder(options.Folder)}
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("open the device in %s: %w", options.Folder, err)
	}
	return d, nil
}

func (d *Device) load() error {
	chain, err := d.folder.certificates(certificateFile)
	if err != nil {
		return err
	}
	if d.id, err = identify(d.options, chain); err != nil {
		return err
	}
	if d.group, err = d.folder.group(d.options.Group); err != nil {
		return err
	}
	if err := d.folder.make(); err != nil {
		return err
	}
	anchors, err := d.firstAnchors()
	if err != nil {
		return err
	}
	key, err := d.folder.key(d.options.KeyAlgorithm)
	if err != nil {
		return err
	}
	if err := d.folder.sweep(keyFile); err != nil {
		return err
	}
	own, err := spki(key.Public())
	if err != nil || len(chain) > 0 && chain[0].SPKI() != own {
		return fmt.Errorf("%s and %s do not belong together: put back the key, or move the certificate away to have one fetched for this key", certificateFile, keyFile)
	}
	d.state.Store(&held{key: key, chain: chain, anchors: anchors})
	return nil
}

// identify the device: by its certificate, by what was said, by its factory certificate.
func identify(o Options, chain []pki.Certificate) (string, error) {
	if len(chain) == 0 {
		if o.ID != "" {
			return o.ID, nil
		}
		return idOf(o.Bootstrap, o.Identity)
	}
	id := chain[0].CommonName()
	if o.ID != "" && o.ID != id {
		return "", fmt.Errorf("it is %.100q by its certificate, not %.100q: give another folder for another device", id, o.ID)
	}
	return id, nil
}

// firstAnchors are those in the folder, or those from the factory, which then lie there.
func (d *Device) firstAnchors() (pki.Anchors, error) {
	stored, err := d.folder.certificates(anchorsFile)
	if err != nil || len(stored) > 0 {
		return pki.NewAnchors(stored...), err
	}
	if len(d.options.Anchors) == 0 {
		return nil, errors.New("there is no root that the server could be known by: give the anchors that the device brings from its factory")
	}
	return d.options.Anchors, d.folder.replace(anchorsFile, d.options.Anchors.PEM(), public)
}

func (d *Device) held() *held { return d.state.Load() }

// ID of the device.
func (d *Device) ID() string { return d.id }

// Anchors that the device trusts now.
func (d *Device) Anchors() pki.Anchors { return d.held().anchors }

// Chain is the device's certificate and its intermediates; empty: it has none yet.
func (d *Device) Chain() []pki.Certificate { return d.held().chain }

// Credential is the device's certificate and key, as TLS shows them; empty: it has none yet.
func (d *Device) Credential() tls.Certificate { return d.held().credential() }

func (h *held) credential() tls.Certificate {
	if len(h.chain) == 0 {
		return tls.Certificate{}
	}
	credential := tls.Certificate{PrivateKey: h.key}
	for _, certificate := range h.chain {
		credential.Certificate = append(credential.Certificate, certificate.X509().Raw)
	}
	return credential
}

// shows are the certificates that the device may show, the best first: its own while that is
// valid, then that of its factory, and its own all the same if there is no other.
func (d *Device) shows() []tls.Certificate {
	h := d.held()
	hasOwn, hasFactory := len(h.chain) > 0, len(d.options.Bootstrap.Certificate) > 0
	valid := hasOwn && !d.options.Clock().After(h.chain[0].NotAfter())
	switch {
	case valid && hasFactory:
		return []tls.Certificate{h.credential(), d.options.Bootstrap}
	case hasOwn && !hasFactory:
		return []tls.Certificate{h.credential()}
	}
	return []tls.Certificate{d.options.Bootstrap}
}

// isOwn reports whether a certificate is the device's, and not that of its factory.
func (h *held) isOwn(shown tls.Certificate) bool {
	return len(h.chain) > 0 && len(shown.Certificate) > 0 && bytes.Equal(shown.Certificate[0], h.chain[0].X509().Raw)
}

// csr asks for the names of the certificate that is shown, which the endpoint holds its owner
// to. With the factory certificate those of the group count: it may derive others by now than
// the certificate has that is held, whose names are copied only where none were given.
func (h *held) csr(shown tls.Certificate, id string, dnsNames []string) ([]byte, error) {
	if h.isOwn(shown) || len(h.chain) > 0 && len(dnsNames) == 0 {
		return nextRequest(h.key, h.chain[0])
	}
	return firstRequest(h.key, id, dnsNames)
}

// Enrol registers the device and stores its first certificate. What is temporary is tried again
// until ctx ends: a registration that waits, a server that is away or has too much to do. A
// device that has a certificate is left as it is.
func (d *Device) Enrol(ctx context.Context) error {
	for failures := 0; len(d.Chain()) == 0; failures++ {
		err := d.begin(ctx)
		if err == nil {
			break
		}
		if !isTemporary(err) || ctx.Err() != nil {
			return err
		}
		pause := d.backoff(failures, err)
		d.options.Report(Event{Kind: Failed, ID: d.id, Err: err, Wait: pause})
		if d.options.Wait(ctx, pause) != nil {
			return fmt.Errorf("%w (no more time to wait: what was begun goes on with the same key when this is run again)", err)
		}
	}
	return nil
}

// begin takes the first certificate, which in the middle of a rollover may be by a root that
// the device did not bring: it is asked for first, as the answer tells the device's group, and
// stored once the anchors of that are.
func (d *Device) begin(ctx context.Context) error {
	chain, err := d.issued(ctx)
	if err != nil {
		return err
	}
	if err := d.follow(ctx); err != nil {
		return err
	}
	return d.take(chain)
}

// obtain a certificate for the device's key, and store it.
func (d *Device) obtain(ctx context.Context) error {
	chain, err := d.issued(ctx)
	if err != nil {
		return err
	}
	return d.take(chain)
}

// issued is a certificate for the device's key.
func (d *Device) issued(ctx context.Context) ([]pki.Certificate, error) {
	return tried(d, func(shown tls.Certificate) ([]pki.Certificate, error) { return d.request(ctx, shown) })
}

// tried is what the first of the device's certificates gets that is accepted.
func tried[T any](d *Device, ask func(shown tls.Certificate) (T, error)) (got T, err error) {
	for _, shown := range d.shows() {
		got, err = ask(shown)
		if err == nil {
			return got, nil
		}
		if refusal, is := errors.AsType[*Refusal](err); !is || !refusal.unwelcome() {
			return got, err
		}
	}
	return got, err
}

// request a certificate. With a key that is registered this is no registration: it fetches the
// newest one, and waits for that if the own one is due.
func (d *Device) request(ctx context.Context, shown tls.Certificate) ([]pki.Certificate, error) {
	csr, err := d.held().csr(shown, d.id, d.options.DNSNames)
	if err != nil {
		return nil, err
	}
	if d.options.Protocol == EST {
		return d.requestEST(ctx, shown, csr)
	}
	return d.requestREST(ctx, shown, csr)
}

// take a certificate in place of the one that is held, if it is any better.
func (d *Device) take(chain []pki.Certificate) error {
	h := d.held()
	if len(h.chain) > 0 && h.chain[0].Equal(chain[0]) {
		return nil
	}
	if err := acceptable(chain, d.id, h, d.options.Clock()); err != nil {
		return &unbelievable{"take the certificate", err}
	}
	if err := d.folder.replace(certificateFile, pemOf(chain), public); err != nil {
		return fmt.Errorf("store the certificate: %w: the one before is used on", err)
	}
	d.state.Store(&held{h.key, chain, h.anchors})
	kind := Renewed
	if len(h.chain) == 0 {
		kind = Registered
	}
	d.options.Report(Event{Kind: kind, ID: d.id, Chain: chain})
	return nil
}

func pemOf(chain []pki.Certificate) []byte {
	var text []byte
	for _, certificate := range chain {
		text = append(text, certificate.PEM()...)
	}
	return text
}

// Renew fetches another certificate if the server has another, or if that which is held is
// due. Until a better one is stored that stays.
func (d *Device) Renew(ctx context.Context) error {
	h := d.held()
	if len(h.chain) == 0 {
		return errNotEnrolled
	}
	shown := d.shows()[0]
	if !h.isOwn(shown) { // its own has ended
		return d.obtain(ctx)
	}
	newest, err := d.newest(ctx, shown)
	refusal, _ := errors.AsType[*Refusal](err)
	other := newest != "" && newest != h.chain[0].Fingerprint().String()
	switch {
	case refusal != nil && refusal.unwelcome():
		return d.obtain(ctx)
	case err != nil:
		return err
	case other && d.options.Protocol == REST:
		return d.collect(ctx, shown)
	case other || !d.options.Clock().Before(d.due()):
		return d.obtain(ctx)
	}
	return nil
}

// collect the newest certificate.
func (d *Device) collect(ctx context.Context, shown tls.Certificate) error {
	chain, err := d.fetch(ctx, shown)
	if err != nil {
		return err
	}
	return d.take(chain)
}

var errNotEnrolled = errors.New("the device has no certificate yet: enrol it first")

// Confirm fetches the anchors, stores them, has the device's own software load them, and tells
// the server so.
func (d *Device) Confirm(ctx context.Context) error {
	if len(d.Chain()) == 0 {
		return errNotEnrolled
	}
	if err := d.follow(ctx); err != nil {
		return err
	}
	if err := d.announce(ctx); err != nil {
		return err
	}
	return d.attest(ctx)
}

// learn of which group the device is, unless that is known.
func (d *Device) learn(ctx context.Context) error {
	if d.group != "" {
		return nil
	}
	_, err := tried(d, func(shown tls.Certificate) (string, error) { return d.newest(ctx, shown) })
	if err == nil && d.group == "" {
		err = errors.New("the server does not tell of which group the device is: give the group")
	}
	return err
}

// joins notes the group that an answer tells, unless the options say it: a device may be moved.
func (d *Device) joins(body []byte) error {
	group := parseGroup(body)
	if d.options.Group != "" || group == "" || group == d.group {
		return nil
	}
	if err := d.folder.replace(groupFile, []byte(group+"\n"), public); err != nil {
		return fmt.Errorf("store the device's group: %w", err)
	}
	d.group = group
	return nil
}

// follow takes the anchors that the server hands out to the device's group. They are asked for
// by its name: to who names none, and is not known there, a server tells those of all groups.
func (d *Device) follow(ctx context.Context) error {
	const operation = "fetch the trust bundle"
	if err := d.learn(ctx); err != nil {
		return err
	}
	h := d.held()
	a, err := d.expect(ctx, question{
		operation: operation, method: http.MethodGet, path: "/v1/trust-bundle?group=" + url.QueryEscape(d.group),
		header: http.Header{"If-None-Match": {`"` + h.anchors.SHA256().String() + `"`}}, shows: d.shows()[0],
	}, http.StatusOK, http.StatusNotModified)
	if err != nil || a.status == http.StatusNotModified {
		return err
	}
	anchors, err := parseBundle(a.body, a.header.Get("ETag"))
	if err == nil {
		err = trustworthy(anchors, a.server, d.options.Clock())
	}
	if err != nil {
		return &unbelievable{operation, err}
	}
	if anchors.Equal(h.anchors) {
		return nil
	}
	if err := d.folder.replace(anchorsFile, anchors.PEM(), public); err != nil {
		return fmt.Errorf("store the anchors: %w: those before are used on", err)
	}
	d.state.Store(&held{h.key, h.chain, anchors})
	d.options.Report(Event{Kind: Trusts, ID: d.id, Anchors: anchors})
	return nil
}

// attest that the anchors are loaded: by their hash, and by a handshake with the proof name.
func (d *Device) attest(ctx context.Context) error {
	if err := d.tell(ctx); err != nil {
		return err
	}
	return d.prove(ctx)
}

// announce what has changed to the device's own software. What it has loaded is noted: after a
// crash between the two it is announced again.
func (d *Device) announce(ctx context.Context) error {
	h := d.held()
	if d.options.Load == nil {
		return nil
	}
	sum := sha256.Sum256(append(pemOf(h.chain), h.anchors.PEM()...))
	note := hex.EncodeToString(sum[:]) + "\n"
	noted, err := d.folder.read(loadedFile)
	if err != nil || string(noted) == note {
		return err
	}
	if err := d.loads(ctx); err != nil {
		return fmt.Errorf("have the device's software load its certificate and anchors: %w: nothing is confirmed until that succeeds", err)
	}
	return d.folder.replace(loadedFile, []byte(note), public)
}

// loads calls Load, for as long as that may take: all else waits for it meanwhile.
func (d *Device) loads(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, d.options.LoadTimeout)
	defer cancel()
	err := d.options.Load(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("it has not ended within %s, and was told to: %w", d.options.LoadTimeout, err)
	}
	return err
}

// tell the server which bundle is held. It is told at each visit: what it has noted of the
// device may be lost.
func (d *Device) tell(ctx context.Context) error {
	anchors := d.Anchors()
	body, err := json.Marshal(map[string]string{"bundle": anchors.SHA256().String()})
	if err != nil {
		return err
	}
	_, err = d.expect(ctx, question{
		operation: "confirm the trust bundle", method: http.MethodPut, path: d.path("/confirmation"),
		header: http.Header{"Content-Type": {"application/json"}}, body: body, shows: d.shows()[0],
	}, http.StatusNoContent, http.StatusOK)
	if err == nil && d.confirmed != anchors.SHA256() {
		d.confirmed = anchors.SHA256()
		d.options.Report(Event{Kind: Confirmed, ID: d.id, Anchors: anchors})
	}
	return err
}

// prove by a handshake with the proof name that its anchor is trusted.
func (d *Device) prove(ctx context.Context) error {
	if d.options.ProofName == "" {
		return nil
	}
	_, err := d.expect(ctx, question{
		operation: "shake hands with the proof name", method: http.MethodGet, path: d.path(""),
		shows: d.shows()[0], serverName: d.options.ProofName,
	}, http.StatusOK)
	if held := d.Anchors().SHA256(); err == nil && d.proved != held {
		d.proved = held
		d.options.Report(Event{Kind: Proved, ID: d.id})
	}
	return err
}

// path of the device at the endpoint.
func (d *Device) path(below string) string { return "/v1/devices/" + url.PathEscape(d.id) + below }
