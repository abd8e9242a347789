package policies

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// ruleOf is a policy with one validation.
func ruleOf(kinds, expression string, change ...func(*v1alpha1.PolicySpec)) *v1alpha1.Policy {
	spec := v1alpha1.PolicySpec{
		Match:       v1alpha1.PolicyMatch{Kinds: strings.Fields(kinds)},
		Validations: []v1alpha1.Validation{{Expression: expression, Message: "no"}},
	}
	for _, c := range change {
		c(&spec)
	}
	return policy("own", spec)
}

func messages(says, expression string) func(*v1alpha1.PolicySpec) {
	return func(s *v1alpha1.PolicySpec) {
		s.Validations[0].Message, s.Validations[0].MessageExpression = says, expression
	}
}

// TestProblems is what is wrong with an expression before it is ever run.
func TestProblems(t *testing.T) {
	loop := "object.spec.a.all(a, object.spec.b.all(b, object.spec.c.all(c, object.spec.d.all(d, a == b && c == d))))"
	for name, test := range map[string]struct {
		policy *v1alpha1.Policy
		want   string
	}{
		"good":                 {ruleOf("Certificate", "object.spec.isCA"), ""},
		"syntax":               {ruleOf("Certificate", "object.spec..x"), "spec.validations[0].expression: line 1, column 13: Syntax error: no viable alternative at input '..'"},
		"unknown variable":     {ruleOf("Certificate", "objekt.spec.x == 1"), "spec.validations[0].expression: line 1, column 1: undeclared reference to 'objekt' (in container '')"},
		"unknown function":     {ruleOf("Certificate", "object.spec.x == 1 &&\n  verify(object)"), "spec.validations[0].expression: line 2, column 9: undeclared reference to 'verify' (in container '')"},
		"type":                 {ruleOf("Certificate", "'a' + 1 == 'a1'"), "spec.validations[0].expression: line 1, column 5: found no matching overload for '_+_' applied to '(string, int)'"},
		"not a truth value":    {ruleOf("Certificate", "1 + 1"), "spec.validations[0].expression: yields int, and must yield bool"},
		"field of certificate": {ruleOf("Certificate", "certificate(object.data.x).notAfer > now"), "spec.validations[0].expression: line 1, column 27: undefined field 'notAfer'"},
		"field of a request":   {ruleOf("DeviceRequest", "object.spec.x == 1"), "spec.validations[0].expression: of a DeviceRequest: line 1, column 7: undefined field 'spec'"},
		"a request and more":   {ruleOf("DeviceRequest Certificate", "plan.target == {}"), "spec.validations[0].expression: of a DeviceRequest: line 1, column 1: undeclared reference to 'plan' (in container '')"},
		"costly":               {ruleOf("Certificate", loop), "spec.validations[0].expression: may cost more than 10000000 with lists of 200 items: nest fewer loops into each other"},
		"long":                 {ruleOf("Certificate", "true "+strings.Repeat("|| true ", 2000)), "spec.validations[0].expression: is longer than 10000 characters: split it up"},
		"a wrong literal":      {ruleOf("Certificate", "duration('90 days') > duration('1h')"), "spec.validations[0].expression: line 1, column 10: invalid duration argument"},
		"a wrong pattern":      {ruleOf("Certificate", "object.metadata.name.matches('[')"), "spec.validations[0].expression: line 1, column 30: invalid matches argument"},
		"message of a number":  {ruleOf("Certificate", "true", messages("", "1")), "spec.validations[0].messageExpression: yields int, and must yield string"},
		"the name of a rule":   {policy("weak-key", v1alpha1.PolicySpec{Domains: []string{"a"}}), "metadata.name: weak-key is the name of a built-in rule: choose another"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, problem := range Problems([]v1alpha1.Policy{*test.policy}) {
				got = append(got, problem.Field+": "+problem.Message)
			}
			if joined := strings.Join(got, "\n"); joined != test.want {
				t.Errorf("got\n%s\nwant\n%s", joined, test.want)
			}
		})
	}
}

// TestOwnRules holds rules of a team's own against things of every kind.
func TestOwnRules(t *testing.T) {
	broker := asks(map[string]any{"dnsNames": []any{"broker.plant.svc"}, "emailAddresses": slices.Repeat([]any{"a@b"}, 1000)})
	root := issue("Root 2025", nil, p256(), nil)
	sensors := group(func(*v1alpha1.DeviceGroupSpec) {})
	plan := thePlan()
	for name, test := range map[string]struct {
		policy *v1alpha1.Policy
		want   []string
	}{
		"holds":                        {ruleOf("Certificate", "duration(object.spec.duration) <= duration('2160h')"), nil},
		"does not":                     {ruleOf("Certificate", "duration(object.spec.duration) < duration('2160h')"), []string{"deny Certificate pki/broker: no"}},
		"warns":                        {ruleOf("Certificate", "false", func(s *v1alpha1.PolicySpec) { s.Severity = v1alpha1.PolicyWarn }), []string{"warn Certificate pki/broker: no"}},
		"says how much":                {ruleOf("Certificate", "false", messages("no", "'lives ' + object.spec.duration")), []string{"deny Certificate pki/broker: lives 2160h"}},
		"cannot say":                   {ruleOf("Certificate", "false", messages("no", "object.spec.nothing")), []string{"deny Certificate pki/broker: no"}},
		"says the expression":          {ruleOf("Certificate", "1 > 2", messages("", "")), []string{"deny Certificate pki/broker: does not hold: 1 > 2"}},
		"says it on one line":          {ruleOf("Certificate", "false", messages("", "'a\\n b'")), []string{"deny Certificate pki/broker: a b"}},
		"a field that is not there":    {ruleOf("Certificate", "object.spec.nothing == 1"), []string{"deny Certificate pki/broker: spec.validations[0].expression could not be evaluated: no such key: nothing"}},
		"one that may be missing":      {ruleOf("Certificate", "object.spec.?nothing.orValue(1) == 1"), nil},
		"no truth value":               {ruleOf("Certificate", "object.spec.duration"), []string{"deny Certificate pki/broker: spec.validations[0].expression yields string, and must yield true or false"}},
		"too costly on the way":        {ruleOf("Certificate", "object.spec.emailAddresses.all(a, object.spec.emailAddresses.all(b, a + b != ''))"), []string{"deny Certificate pki/broker: spec.validations[0].expression could not be evaluated: operation cancelled: actual cost limit exceeded"}},
		"texts, lists, sets, networks": {ruleOf("Certificate", "object.spec.dnsNames.all(n, n.split('.').size() == 3) && sets.contains([1, 2], [1]) && cidr('10.0.0.0/8').containsIP('10.1.1.1')"), nil},
		"documents":                    {ruleOf("Authority DeviceGroup Policy.reanchor.dev", "object.metadata.name == 'root'"), []string{"deny DeviceGroup sensors: no", "deny Policy own: no"}},
		"defaults of documents":        {ruleOf("Authority", "object.spec.rollover.soak == '10m0s' && object.kind == 'Authority'"), nil},
		"the certificate in a document": {
			ruleOf("Authority", "object.spec.keys.all(k, certificate(k.certificate).subject.commonName == 'Root 2025' && certificate(k.certificate).selfSigned && certificate(k.certificate).keySize == 256 && certificate(k.certificate).notAfter > now + duration('24h') && certificate(k.certificate).maxPathLen == -1)"), nil,
		},
		"no certificate":     {ruleOf("Authority", "certificate('x').isCA"), []string{"deny Authority pki/root: spec.validations[0].expression could not be evaluated: certificate: no PEM block of type CERTIFICATE found"}},
		"the plan":           {ruleOf("Plan", "object.target.keys.size() == 2 && object == plan && certificates(plan.target.bundles[0].anchors[0]).all(c, c.isCA)"), nil},
		"the plan elsewhere": {ruleOf("Certificate", "plan.target.issuers.all(i, i.key == '2026')"), []string{"deny Certificate pki/broker: no"}},
		"another kind":       {ruleOf("ConfigMap Kafka.kafka.strimzi.io", "false"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			documents := []v1alpha1.Object{
				test.policy, sensors,
				authority("root", func(a *v1alpha1.Authority) {
					a.Kind, a.Spec.Keys = v1alpha1.KindAuthority, []v1alpha1.AuthorityKey{given("2025", root)}
				}),
			}
			got := inShort(of(Check(Input{Plan: plan, Manifests: []*unstructured.Unstructured{broker}, Documents: documents, Now: today}), "own"))
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// inShort are violations in short.
func inShort(violations []Violation) []string {
	var lines []string
	for _, v := range violations {
		lines = append(lines, string(v.Severity)+" "+v.Subject+": "+v.Message)
	}
	return lines
}

// A policy that does not compile denies, should it ever come so far.
func TestBrokenPoliciesDeny(t *testing.T) {
	got := inShort(Check(Input{Documents: []v1alpha1.Object{ruleOf("Certificate", "nonsense(")}, Now: today}))
	if len(got) != 1 || !strings.HasPrefix(got[0], "deny Policy own: spec.validations[0].expression: line 1, column ") {
		t.Errorf("got %q", got)
	}
}

// What an expression says shows nothing of a private key in a manifest.
func TestMessagesShowNoKey(t *testing.T) {
	secret := object("v1", "ConfigMap", "pki", "leak", map[string]any{"data": map[string]any{"k": string(block("EC PRIVATE KEY", sec1))}})
	got := inShort(of(Check(Input{
		Manifests: []*unstructured.Unstructured{secret}, Now: today,
		Documents: []v1alpha1.Object{ruleOf("ConfigMap", "false", messages("no", "object.data.k"))},
	}), "own"))
	if !slices.Equal(got, []string{"deny ConfigMap pki/leak: no"}) {
		t.Errorf("got %q", got)
	}
}

func exempt(rule, subject, until string) v1alpha1.Exemption {
	return v1alpha1.Exemption{Rule: rule, Subject: subject, Reason: "the old press", Until: until}
}

func TestExemptions(t *testing.T) {
	weak := asks(map[string]any{"privateKey": map[string]any{"algorithm": "RSA", "size": int64(1024)}})
	denied := "deny Certificate pki/broker: has an RSA key of 1024 bits, and 2048 is the least that is safe"
	warned := strings.Replace(denied, "deny", "warn", 1)
	for name, test := range map[string]struct {
		exemption v1alpha1.Exemption
		want      []string
	}{
		"in full":              {exempt(RuleWeakKey, "Certificate pki/broker", "2026-06-02"), []string{warned}},
		"by name":              {exempt(RuleWeakKey, "pki/broker", "2026-06-02"), []string{warned}},
		"by pattern":           {exempt(RuleWeakKey, "Certificate */bro*r", "2026-06-02"), []string{warned}},
		"another":              {exempt(RuleWeakKey, "Certificate pki/brok", "2026-06-02"), []string{denied}},
		"another rule":         {exempt(RuleLeafLifetime, "*", "2026-06-02"), []string{denied}},
		"ended this very day":  {exempt(RuleWeakKey, "*", "2026-06-01"), []string{"warn Policy exemptions: the exemption of * from weak-key ended on 2026-06-01", denied}},
		"of what has no end":   {exempt(RuleWeakKey, "*", "never"), []string{denied}},
		"from the team's rule": {exempt("own", "*", "2026-06-02"), []string{denied}},
	} {
		t.Run(name, func(t *testing.T) {
			violations := of(Check(Input{
				Manifests: []*unstructured.Unstructured{weak}, Now: today,
				Documents: []v1alpha1.Object{policy("exemptions", v1alpha1.PolicySpec{Exemptions: []v1alpha1.Exemption{test.exemption}})},
			}), RuleWeakKey, RulePolicy)
			violations = slices.DeleteFunc(violations, func(v Violation) bool { return strings.Contains(v.Message, "there is no rule") })
			if got := inShort(violations); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			for _, v := range violations {
				if v.Rule == RuleWeakKey && v.Severity == Warn && v.Mend != "exempt until 2026-06-02 by Policy exemptions: the old press" {
					t.Errorf("got %q", v.Mend)
				}
			}
		})
	}
}

// Nobody is let off some rules, and none that does not exist.
func TestExemptionsThatCannotBe(t *testing.T) {
	for rule, want := range map[string]string{
		RulePrivateKey:    "nobody can be exempted from private-key: take the exemption out, and mend what breaks the rule",
		RuleAnchorChanged: "nobody can be exempted from anchor-changed: take the exemption out, and mend what breaks the rule",
		"weak-keys":       `there is no rule "weak-keys": name a built-in one (` + strings.Join(exemptable(), ", ") + ") or a Policy",
		"exemptions":      "",
		RuleWeakKey:       "",
	} {
		var got string
		for _, problem := range Problems([]v1alpha1.Policy{*policy("exemptions", v1alpha1.PolicySpec{Exemptions: []v1alpha1.Exemption{exempt(rule, "*", "2027-01-01")}})}) {
			got += problem.Field + ": " + problem.Message
		}
		if want != "" {
			want = "spec.exemptions[0].rule: " + want
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", rule, got, want)
		}
	}
	leak := object("v1", "Secret", "pki", "s", map[string]any{"stringData": map[string]any{"k": string(block("EC PRIVATE KEY", sec1))}})
	violations := Check(Input{
		Manifests: []*unstructured.Unstructured{leak}, Now: today,
		Documents: []v1alpha1.Object{policy("exemptions", v1alpha1.PolicySpec{Exemptions: []v1alpha1.Exemption{exempt(RulePrivateKey, "*", "2027-01-01")}})},
	})
	if len(Denied(of(violations, RulePrivateKey))) != 1 {
		t.Errorf("got %v: an exemption let a private key in", violations)
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"*", "", true},
		{"a*", "a/b", true},
		{"*b", "ab", true},
		{"a*b*c", "a1b2c", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"*b*", "abc", true},
		{"**", "x", true},
	} {
		if got := glob(test.pattern, test.text); got != test.want {
			t.Errorf("%q is like %q: %t", test.text, test.pattern, got)
		}
	}
}

func TestCheckRequest(t *testing.T) {
	sensors := group(func(*v1alpha1.DeviceGroupSpec) {})
	rules, problems := Compile([]v1alpha1.Policy{
		*ruleOf("DeviceRequest", "object.id == object.subject.commonName && group.metadata.name == 'sensors' && object.keyAlgorithm == 'ECDSA'", messages("no", "'for ' + object.id")),
		*policy("exemptions", v1alpha1.PolicySpec{Exemptions: []v1alpha1.Exemption{exempt("own", "Device old-*", "2027-01-01")}}),
	})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	csr := requestOf(p256(), []string{"one.sensors.example"})
	for name, test := range map[string]struct {
		id, request string
		want        []string
	}{
		"good":      {"one", csr, nil},
		"another":   {"two", csr, []string{"deny Device two: for two"}},
		"exempt":    {"old-1", csr, []string{"warn Device old-1: for old-1"}},
		"wildcard":  {"one", requestOf(p256(), []string{"*.example"}), []string{`deny Device one: is for the wildcard "*.example": whoever holds its key passes for every host below`}},
		"no CSR":    {"one", "x", []string{"deny Device one: its request cannot be read: is not one PEM block of type CERTIFICATE REQUEST"}},
		"not whole": {"one", csr + csr, []string{"deny Device one: its request cannot be read: is not one PEM block of type CERTIFICATE REQUEST"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := inShort(rules.CheckRequest(test.id, test.request, *sensors, today)); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A rule that is costly in all stops looking, and says so.
func TestARuleHasABudget(t *testing.T) {
	rules, _ := Compile([]v1alpha1.Policy{*ruleOf("Certificate", "object.kind == 'Certificate'")})
	kind := schema.GroupKind{Group: "cert-manager.io", Kind: "Certificate"}
	things := map[schema.GroupKind][]thing{kind: slices.Repeat([]thing{{"Certificate pki/broker", asks(nil).Object}}, 100)}
	for budget, want := range map[uint64][]string{
		1000: nil,
		100:  {"deny Policy own: spec.validations[0] costs more than 100 in all, and not everything was looked at: make it simpler, or match fewer kinds"},
	} {
		if got := inShort(rules.rules[0].check(things, map[string]any{}, budget)); !slices.Equal(got, want) {
			t.Errorf("with %d: got %q, want %q", budget, got, want)
		}
	}
}

// FuzzCompile compiles any expression, and runs it if it can be: it ends, and what it says
// fits on a line.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"object.spec.isCA", "duration(object.spec.?duration.orValue('1h')) < duration('2h')", "certificates(object.data.x).all(c, c.isCA)",
		"object.spec.dnsNames.exists(n, n.matches('^a'))", "'a'.format([1])", "[1, 2].map(a, a * 2).sum()", "cel.bind(x, 1, x == 1)", "ip('::1').family() == 6",
		"((((((((((1))))))))))", "\x00", "request('x').id == ''", "base64.decode('a') == b''", "optional.none()", "plan.target.keys[0].name.lowerAscii()",
	} {
		f.Add(seed)
	}
	broker := asks(nil)
	f.Fuzz(func(t *testing.T, expression string) {
		own := ruleOf("Certificate DeviceRequest", expression, messages("no", expression))
		for _, problem := range Problems([]v1alpha1.Policy{*own}) {
			if problem.Message == "" || strings.ContainsAny(problem.Message, "\n\r") {
				t.Errorf("got %q", problem.Message)
			}
		}
		input := Input{Plan: planner.Plan{}, Manifests: []*unstructured.Unstructured{broker}, Documents: []v1alpha1.Object{own}, Now: today}
		first := Check(input)
		if again := Check(input); !slices.Equal(first, again) {
			t.Errorf("first %v, then %v", first, again)
		}
		for _, violation := range first {
			if strings.ContainsAny(violation.Message, "\n\r") && violation.Message != "no" {
				t.Errorf("got %q", violation)
			}
		}
	})
}

// What is nested beyond reason is refused, and what is long is not.
func TestDeepExpressions(t *testing.T) {
	const n = 3000
	for name, test := range map[string]struct{ expression, want string }{
		"brackets": {strings.Repeat("(", n) + "1" + strings.Repeat(")", n) + " == 1", "expression recursion limit exceeded: 250"},
		"lists":    {strings.Repeat("[", n) + strings.Repeat("]", n) + " == []", "expression recursion limit exceeded: 250"},
		"nots":     {strings.Repeat("!", n) + "true", ""},
		"sums":     {strings.Repeat("1+", n) + "1 == 1", "max recursion depth exceeded"},
		"fields":   {"object" + strings.Repeat(".a", n) + " == 1", "max recursion depth exceeded"},
		"open":     {strings.Repeat("{1:", n), "expression recursion limit exceeded: 250"},
		"loops":    {strings.Repeat("[1].all(x, ", n/4) + "true" + strings.Repeat(")", n/4), "expression recursion limit exceeded: 250"},
	} {
		var got string
		for _, problem := range Problems([]v1alpha1.Policy{*ruleOf("Certificate", test.expression)}) {
			got += problem.Message
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// What a function makes is bounded before it is made.
func TestTextsAreBounded(t *testing.T) {
	bundle := object("v1", "ConfigMap", "pki", "big", map[string]any{"data": map[string]any{"x": strings.Repeat("a", 1<<18), "n": int64(1 << 40), "m": []any{int64(1)}, "l": slices.Repeat([]any{"b"}, 1<<10)}})
	for expression, want := range map[string]string{
		"object.data.x.replace('a', object.data.x) != ''":                         "replace: would make more than 1048576 bytes",
		"object.data.l.join(object.data.x) != ''":                                 "join: would make more than 1048576 bytes",
		"lists.range(object.data.n) != []":                                        "may cost more than 10000000",
		"[1].join('') == ''":                                                      "",
		"object.data.x.find('[') == ''":                                           "find: error parsing regexp",
		"' Abc '.trim().lowerAscii() == 'abc' && 'a'.upperAscii() == 'A'":         "holds",
		"'a.b'.split('.').join('-') == 'a-b' && 'a1'.find('[0-9]') == '1'":        "holds",
		"'aXb'.replace('X', '') == 'ab' && 'abc'.indexOf('c') == 2":               "holds",
		"object.data.m.join(',') == ''":                                           "no such overload: join(list, string)",
		"cel.bind(a, object.data.x + object.data.x, a + a + a + a + a + a) != ''": "holds",
	} {
		own := ruleOf("ConfigMap", expression)
		got := append(inShort(of(Check(Input{Manifests: []*unstructured.Unstructured{bundle}, Documents: []v1alpha1.Object{own}, Now: today}), "own", RulePolicy)), "holds")
		if !strings.Contains(got[0], want) {
			t.Errorf("%s: got %q, want %q", expression, got[0], want)
		}
	}
}
