package policies

import (
	"fmt"
	"slices"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Rules are the team's own, compiled, and their exemptions. The zero value has none.
type Rules struct {
	rules    []rule
	policies []*v1alpha1.Policy
}

// rule is one validation of a policy, for the kinds of one environment.
type rule struct {
	policy   string
	severity Severity
	kinds    []schema.GroupKind
	field    string
	// holds is the expression, and message makes the message; nil if there is none.
	holds, message cel.Program
	says           string
}

// Compile makes programs of the policies' expressions. The problems are what is wrong with
// them; a policy with a problem is not among the rules, so that nobody must go on with
// them.
func Compile(policies []v1alpha1.Policy) (Rules, []v1alpha1.PolicyProblem) {
	pointers := make([]*v1alpha1.Policy, len(policies))
	for i := range policies {
		pointers[i] = &policies[i]
	}
	return compilePolicies(pointers)
}

// Problems says what is wrong with policies, all those of a domain: expressions that do not
// compile or cost too much, exemptions from what there is no exemption from. It is what
// v1alpha1.Site asks for.
func Problems(policies []v1alpha1.Policy) []v1alpha1.PolicyProblem {
	_, problems := Compile(policies)
	return problems
}

func compilePolicies(policies []*v1alpha1.Policy) (Rules, []v1alpha1.PolicyProblem) {
	c := compiler{own: []string{}}
	for _, policy := range policies {
		c.own = append(c.own, policy.Metadata.Name)
	}
	for _, policy := range policies {
		c.policy(policy)
	}
	return Rules{c.rules, policies}, c.problems
}

// compiler collects rules and problems.
type compiler struct {
	own      []string
	rules    []rule
	problems []v1alpha1.PolicyProblem
}

func (c *compiler) refuse(policy *v1alpha1.Policy, field, format string, args ...any) {
	c.problems = append(c.problems, v1alpha1.PolicyProblem{Policy: policy.Metadata.Name, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (c *compiler) policy(policy *v1alpha1.Policy) {
	if _, taken := ruleNamed(policy.Metadata.Name); taken {
		c.refuse(policy, "metadata.name", "%s is the name of a built-in rule: choose another", policy.Metadata.Name)
	}
	for i, exemption := range policy.Spec.Exemptions {
		if problem := problemOf(exemption, c.own); problem != "" {
			c.refuse(policy, fmt.Sprintf("spec.exemptions[%d].rule", i), "%s", problem)
		}
	}
	documents, requests := splitKinds(policy.Spec.Match.Kinds)
	for i, validation := range policy.Spec.Validations {
		field := fmt.Sprintf("spec.validations[%d]", i)
		if len(documents) > 0 {
			c.validation(policy, field, validation, documents, documentsEnvironment)
		}
		if len(requests) > 0 {
			c.validation(policy, field, validation, requests, requestsEnvironment)
		}
	}
}

// splitKinds tells devices' requests, whose variables are others, from all else.
func splitKinds(names []string) (documents, requests []schema.GroupKind) {
	for _, name := range names {
		kind, known := v1alpha1.RuledKind(name)
		switch {
		case !known: // validation has refused it
		case kind == requestKind:
			requests = append(requests, kind)
		default:
			documents = append(documents, kind)
		}
	}
	return documents, requests
}

var (
	planKind    = schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: v1alpha1.KindPlan}
	requestKind = schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: v1alpha1.KindDeviceRequest}
)

// validation compiles one for kinds that share an environment.
func (c *compiler) validation(
	policy *v1alpha1.Policy, field string, validation v1alpha1.Validation, kinds []schema.GroupKind, prepare func() (environment, error),
) {
	compiled := rule{policy: policy.Metadata.Name, severity: severityOf(policy), kinds: kinds, field: field, says: saysOf(validation)}
	env, err := prepare()
	if err != nil {
		c.refuse(policy, field, "%s", err)
		return
	}
	if compiled.holds, err = env.compile(validation.Expression, cel.BoolType); err != nil {
		c.refuse(policy, field+".expression", "%s", about(kinds, err))
	}
	if validation.MessageExpression != "" {
		var err error
		if compiled.message, err = env.compile(validation.MessageExpression, cel.StringType); err != nil {
			c.refuse(policy, field+".messageExpression", "%s", about(kinds, err))
		}
	}
	if compiled.holds != nil {
		c.rules = append(c.rules, compiled)
	}
}

// about says of an error for which of the kinds it is, where others have other variables.
func about(kinds []schema.GroupKind, err error) string {
	if slices.Contains(kinds, requestKind) {
		return "of a DeviceRequest: " + err.Error()
	}
	return err.Error()
}

func severityOf(policy *v1alpha1.Policy) Severity {
	if policy.Spec.Severity == v1alpha1.PolicyWarn {
		return Warn
	}
	return Deny
}

// saysOf is the message of a validation without a messageExpression, or of one that fails.
func saysOf(validation v1alpha1.Validation) string {
	if validation.Message != "" {
		return validation.Message
	}
	return "does not hold: " + validation.Expression
}

// thing is something that a rule may be about.
type thing struct {
	subject string
	content any
}

// check holds everything of a scene against the rules.
func (r Rules) check(s *scene) []Violation {
	if len(r.rules) == 0 {
		return nil
	}
	things, violations := s.things()
	variables := map[string]any{variableNow: instant(s.Now), variablePlan: s.plan}
	for _, rule := range r.rules {
		violations = append(violations, rule.check(things, variables, maxRuleCost)...)
	}
	return violations
}

// things are all that a rule may be about, by kind, and what cannot be looked at.
func (s *scene) things() (map[schema.GroupKind][]thing, []Violation) {
	found := map[schema.GroupKind][]thing{}
	var violations []Violation
	for _, manifest := range s.Manifests {
		kind := manifest.GroupVersionKind().GroupKind()
		found[kind] = append(found[kind], thing{idOf(manifest).String(), manifest.Object})
	}
	for _, document := range s.Documents {
		kind := schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: v1alpha1.KindOf(document)}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(document)
		if err != nil {
			violations = append(violations, unreadable(named(document), err))
			continue
		}
		found[kind] = append(found[kind], thing{named(document), content})
	}
	found[planKind] = []thing{{v1alpha1.KindPlan, s.plan()}}
	return found, violations
}

func unreadable(subject string, err error) Violation {
	return Violation{Rule: RulePolicy, Severity: Deny, Subject: subject, Message: fmt.Sprintf("cannot be looked at: %s", err), Mend: "report this as a fault of reanchor"}
}

// contentOf is a value as JSON has it; nil if it has no form in JSON, so that an expression
// about it fails.
func contentOf(value any) any {
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	var content map[string]any
	if err := json.Unmarshal(encoded, &content); err != nil {
		return nil
	}
	return content
}

// check holds all things of a rule's kinds against it, as long as that costs no more than a
// budget.
func (r rule) check(things map[schema.GroupKind][]thing, variables map[string]any, budget uint64) []Violation {
	var violations []Violation
	var spent uint64
	for _, kind := range r.kinds {
		for _, thing := range things[kind] {
			variables[variableObject] = thing.content
			violation, cost := r.judge(thing.subject, variables)
			violations = append(violations, violation...)
			if spent += cost; spent > budget {
				return append(violations, r.broken(v1alpha1.KindPolicy+" "+r.policy, fmt.Sprintf(
					"%s costs more than %d in all, and not everything was looked at: make it simpler, or match fewer kinds", r.field, budget)))
			}
		}
	}
	return violations
}

// judge holds one thing against the rule. What cannot be told does not hold.
func (r rule) judge(subject string, variables map[string]any) ([]Violation, uint64) {
	value, cost, err := told(r.holds, variables)
	switch {
	case err != nil:
		return []Violation{r.broken(subject, fmt.Sprintf("%s.expression could not be evaluated: %s", r.field, err))}, cost
	case value == types.True:
		return nil, cost
	case value != types.False:
		return []Violation{r.broken(subject, fmt.Sprintf("%s.expression yields %s, and must yield true or false", r.field, typeName(value)))}, cost
	}
	violation := r.broken(subject, r.says)
	if r.message != nil {
		text, more, err := told(r.message, variables)
		cost += more
		if message, isText := messageOf(text, err); isText {
			violation.Message = message
		}
	}
	return []Violation{violation}, cost
}

// messageOf is what a messageExpression yields, if that is a text on one line. It repeats
// nothing of a private key that a manifest may hold.
func messageOf(value ref.Val, err error) (message string, isText bool) {
	text, isText := value.(types.String)
	if err != nil || !isText || text == "" || firstMaterial(string(text)) != "" {
		return "", false
	}
	return oneLine(string(text)), true
}

func (r rule) broken(subject, message string) Violation {
	return Violation{
		Rule: r.policy, Severity: r.severity, Subject: subject, Message: message,
		Mend: "change it, or exempt it in a Policy with a reason and an end",
	}
}

func typeName(value ref.Val) string { return value.Type().TypeName() }
