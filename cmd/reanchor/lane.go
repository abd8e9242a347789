package main

import (
	"context"
	"fmt"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
)

// laneOf a folder are its devices beside the end state, in a cluster that holds nothing of
// them yet; and the keys that are known.
func laneOf(read declared, target planner.Target, observed planner.Observed, domain planner.Ref) (*inventory.Lane, []inventory.Key, error) {
	templates, err := read.Templates(target, domain)
	if err != nil {
		return nil, nil, err
	}
	keys := inventory.KnownKeys(read.Desired, observed)
	lane := inventory.NewLane()
	lane.List(read.Devices, read.folder)
	lane.Obey(inventory.Rules(read.Desired.Groups, target.DeviceRules, templates, keys))
	return lane, keys, nil
}

// pageOfDevices is how many objects are asked for at a time.
const pageOfDevices = 500

// seeDevices tells a lane of the objects that the cluster holds of a domain's devices.
func (c *cluster) seeDevices(ctx context.Context, domain planner.Ref, lane *inventory.Lane) error {
	for _, list := range []client.ObjectList{&certmanager.CertificateRequestList{}, &certmanager.CertificateList{}} {
		if err := c.seeEach(ctx, domain, list, lane); err != nil {
			return fmt.Errorf("list the certificates of devices: %w", advised(err))
		}
	}
	return nil
}

func (c *cluster) seeEach(ctx context.Context, domain planner.Ref, list client.ObjectList, lane *inventory.Lane) error {
	of := client.MatchingLabels{v1alpha1.LabelDomainNamespace: domain.Namespace, v1alpha1.LabelDomainName: domain.Name}
	for {
		err := c.List(ctx, list, of, client.HasLabels{v1alpha1.LabelDeviceGroup}, client.Limit(pageOfDevices), client.Continue(list.GetContinue()))
		if err != nil {
			return err
		}
		switch page := list.(type) {
		case *certmanager.CertificateRequestList:
			for _, request := range page.Items {
				lane.See(request.DeepCopy())
			}
		case *certmanager.CertificateList:
			for _, certificate := range page.Items {
				lane.See(certificate.DeepCopy())
			}
		}
		if list.GetContinue() == "" {
			return nil
		}
	}
}
