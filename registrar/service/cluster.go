package service

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/registrar"
)

// device names one.
type device struct{ group, id string }

// Cluster is what cert-manager answered the devices of a domain, as a watch of their
// CertificateRequests and Certificates tells it. It may be used by several goroutines.
type Cluster struct {
	domain planner.Ref
	lane   *inventory.Lane

	mutex sync.Mutex
	// made tells whose the keys are that cert-manager made, and keys the other way round.
	made map[pki.Fingerprint]device
	keys map[device][]pki.Fingerprint
	// waiting are told when something of a device changes.
	waiting map[device]map[chan struct{}]bool
}

// NewCluster knows nothing yet.
func NewCluster(domain planner.Ref) *Cluster {
	return &Cluster{
		domain: domain, lane: inventory.NewLane(),
		made: map[pki.Fingerprint]device{}, keys: map[device][]pki.Fingerprint{}, waiting: map[device]map[chan struct{}]bool{},
	}
}

// Handler takes what an informer tells of CertificateRequests and Certificates. Those of
// other domains are passed over.
func (c *Cluster) Handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    c.see,
		UpdateFunc: func(_, after any) { c.see(after) },
		DeleteFunc: func(gone any) {
			if unknown, is := gone.(cache.DeletedFinalStateUnknown); is {
				gone = unknown.Obj
			}
			if object, is := gone.(client.Object); is {
				c.take(object, c.lane.Forget)
			}
		},
	}
}

func (c *Cluster) see(seen any) {
	if object, is := seen.(client.Object); is {
		c.take(object, c.lane.See)
	}
}

// take what is told of an object.
func (c *Cluster) take(object client.Object, tell func(client.Object)) {
	domain, group, id, is := inventory.Of(object)
	if !is || domain != c.domain {
		c.lane.Forget(object)
		return
	}
	tell(object)
	whose := device{group, id}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.index(whose, c.lane.Keys(group, id))
	for waits := range c.waiting[whose] {
		select {
		case waits <- struct{}{}:
		default: // it has been told, and has not looked yet
		}
	}
}

// index the keys that cert-manager made for a device. It needs the mutex.
func (c *Cluster) index(whose device, keys []pki.Fingerprint) {
	for _, key := range c.keys[whose] {
		delete(c.made, key)
	}
	delete(c.keys, whose)
	if len(keys) > 0 {
		c.keys[whose] = keys
	}
	for _, key := range keys {
		c.made[key] = whose
	}
}

// holder of a key that cert-manager made.
func (c *Cluster) holder(key pki.Fingerprint) (device, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	whose, held := c.made[key]
	return whose, held
}

// Newest is the certificate that was issued last for a holder.
func (c *Cluster) Newest(holder registrar.Holder) (registrar.Issued, bool) {
	return issuedIn(c.lane.Newest(holder.Group, holder.ID, holder.Key))
}

func issuedIn(answer inventory.Answer) (registrar.Issued, bool) {
	if len(answer.Chain) == 0 {
		return registrar.Issued{}, false
	}
	chain := slices.DeleteFunc(slices.Clone(answer.Chain[1:]), pki.Certificate.SelfSigned)
	return registrar.Issued{Certificate: answer.Chain[0], Chain: chain}, true
}

// Await returns the newest certificate as soon as it is enough.
func (c *Cluster) Await(ctx context.Context, holder registrar.Holder, enough func(registrar.Issued) bool) (registrar.Issued, error) {
	changed, stop := c.wait(device{holder.Group, holder.ID})
	defer stop()
	for {
		answer := c.lane.Newest(holder.Group, holder.ID, holder.Key)
		issued, found := issuedIn(answer)
		switch {
		case found && enough(issued):
			return issued, nil
		case answer.Refused != "":
			return registrar.Issued{}, fmt.Errorf("%w: %s", registrar.ErrIssuanceFailed, answer.Refused)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return registrar.Issued{}, ctx.Err()
		}
	}
}

// wait for changes of a device, until stopped.
func (c *Cluster) wait(whose device) (changed <-chan struct{}, stop func()) {
	waits := make(chan struct{}, 1)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.waiting[whose] == nil {
		c.waiting[whose] = map[chan struct{}]bool{}
	}
	c.waiting[whose][waits] = true
	return waits, func() {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		delete(c.waiting[whose], waits)
		if len(c.waiting[whose]) == 0 {
			delete(c.waiting, whose)
		}
	}
}

// Keys reads the Secrets in which cert-manager keeps the keys of devices, one by one at the
// API server, and only those of groups that Git lets have such.
type Keys struct {
	Reader client.Reader
	Git    *Git
}

// PrivateKey of a holder's newest certificate.
func (k *Keys) PrivateKey(ctx context.Context, holder registrar.Holder) (crypto.Signer, error) {
	namespace, err := k.namespaceOf(holder.Group)
	if err != nil {
		return nil, err
	}
	name := v1alpha1.DeviceObjectName(holder.Group, holder.ID)
	var secret corev1.Secret
	if err := k.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret); err != nil {
		return nil, fmt.Errorf("get Secret %s/%s of device %s/%s: %w; grant get on secrets in that namespace", namespace, name, holder.Group, holder.ID, err)
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("read Secret %s/%s of device %s/%s: %w; wait until cert-manager has written it", namespace, name, holder.Group, holder.ID, err)
	}
	signer, is := pair.PrivateKey.(crypto.Signer)
	if !is {
		return nil, fmt.Errorf("read Secret %s/%s: a key of type %T cannot sign", namespace, name, pair.PrivateKey)
	}
	return signer, nil
}

func (k *Keys) namespaceOf(group string) (string, error) {
	fleet, err := k.Git.Fleet()
	if err != nil {
		return "", err
	}
	for _, declared := range fleet.Groups() {
		if declared.Name == group && declared.Spec.Keys == v1alpha1.KeysCluster {
			return declared.Spec.Namespace, nil
		}
	}
	return "", errors.New("the keys of group " + group + " are not made by cert-manager: nobody but the device has them")
}
