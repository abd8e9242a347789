package inventory

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Rules are what a plan comes to for the groups that a domain declares: the key that it lets
// sign, as far as that is among the known ones, and the template of the group's name.
func Rules(groups []v1alpha1.DeviceGroup, planned []planner.DeviceRule, templates map[string]*unstructured.Unstructured, keys []Key) []Rule {
	rules := make([]Rule, 0, len(groups))
	for _, group := range groups {
		rule := Rule{Group: group, Template: templates[group.Metadata.Name]}
		for _, p := range planned {
			if p.Group == group.Metadata.Name {
				rule.Authority, rule.Key, rule.Later, rule.Stolen = p.Authority, p.Key, p.Later, p.Stolen
			}
		}
		for _, key := range keys {
			if key.Authority == rule.Authority && key.Name == rule.Key {
				rule.Signer = key
			}
		}
		rules = append(rules, rule)
	}
	return rules
}
