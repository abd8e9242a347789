package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
)

// The limits of an expression. Costs are counted as the API server does for its own
// policies (https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints): 1 is
// about as much as to read a field, and 1,000,000 about a tenth of a second.
const (
	// maxExpression in characters.
	maxExpression = 10_000
	// maxEstimate is how costly an expression may be at worst, by what can be told before it
	// is run: see assumedSize.
	maxEstimate = 10_000_000
	// maxCost of one run, and maxRuleCost of all runs of a validation in one check.
	maxCost     = 1_000_000
	maxRuleCost = 10_000_000
	// assumedSize is how long the lists and texts of an object are taken to be when the
	// cost of an expression is estimated.
	assumedSize = 200
	// maxRange is the longest list that lists.range makes.
	maxRange = 10_000
	// parseCost of a certificate or a CSR, beside its length.
	parseCost = 1_000
)

// The variables of expressions.
const (
	variableObject = "object"
	variablePlan   = "plan"
	variableNow    = "now"
	variableGroup  = "group"
)

// certificateType and requestType are what certificates and requests are in CEL.
var (
	certificateType = cel.ObjectType("policies.Certificate")
	requestType     = cel.ObjectType("policies.Request")
)

// environment is what an expression is compiled in: for what stands in Git, or for a
// device's request.
type environment struct{ env *cel.Env }

// documentsEnvironment is that of rules about documents, manifests and plans.
var documentsEnvironment = sync.OnceValues(func() (environment, error) {
	return newEnvironment(
		cel.Variable(variableObject, cel.DynType), cel.Variable(variablePlan, cel.DynType), cel.Variable(variableNow, cel.TimestampType),
	)
})

// requestsEnvironment is that of rules about a device's request.
var requestsEnvironment = sync.OnceValues(func() (environment, error) {
	return newEnvironment(
		cel.Variable(variableObject, requestType), cel.Variable(variableGroup, cel.DynType), cel.Variable(variableNow, cel.TimestampType),
	)
})

func newEnvironment(variables ...cel.EnvOption) (environment, error) {
	env, err := cel.NewEnv(append([]cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.HomogeneousAggregateLiterals(),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateHomogeneousAggregateLiterals(),
		),
		ext.Lists(ext.ListsVersion(3), ext.ListsMaxRangeSize(maxRange)), ext.Sets(), ext.Network(),
		ext.TwoVarComprehensions(), ext.Bindings(), ext.Encoders(),
		textFunctions(),
		ext.NativeTypes(certificateGoType, requestGoType, ext.ParseStructTags(true)),
		certificateFunctions(),
	}, variables...)...)
	if err != nil {
		return environment{}, fmt.Errorf("prepare CEL: %w", err)
	}
	return environment{env}, nil
}

// compile makes a program of an expression that yields a value of a type, or of no known
// one. Its error fits on a line.
func (e environment) compile(expression string, want *cel.Type) (cel.Program, error) {
	if len(expression) > maxExpression {
		return nil, fmt.Errorf("is longer than %d characters: split it up", maxExpression)
	}
	parsed, issues := e.env.Compile(expression)
	if issues.Err() != nil {
		return nil, firstIssue(issues)
	}
	if found := parsed.OutputType(); !found.IsExactType(want) && found.Kind() != types.DynKind {
		return nil, fmt.Errorf("yields %s, and must yield %s", found, want)
	}
	estimate, err := e.env.EstimateCost(parsed, costs{})
	if err != nil {
		return nil, fmt.Errorf("its cost cannot be estimated: %w", err)
	}
	if estimate.Max > maxEstimate {
		return nil, fmt.Errorf("may cost more than %d with lists of %d items: nest fewer loops into each other", maxEstimate, assumedSize)
	}
	return e.env.Program(parsed, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(maxCost), cel.CostTracking(costs{}))
}

// firstIssue is the first of what is wrong with an expression, with its place in it.
func firstIssue(issues *cel.Issues) error {
	if len(issues.Errors()) == 0 {
		return errors.New(oneLine(issues.Err().Error()))
	}
	issue := issues.Errors()[0]
	message := oneLine(issue.Message)
	if issue.Location.Line() < 1 {
		return errors.New(message)
	}
	return fmt.Errorf("line %d, column %d: %s", issue.Location.Line(), issue.Location.Column()+1, message)
}

// costs estimates and counts what the functions of this package cost.
type costs struct{}

var (
	_ checker.CostEstimator           = costs{}
	_ interpreter.ActualCostEstimator = costs{}
)

// EstimateSize takes what an object holds to be of an ordinary size: nothing says how large
// it is.
func (costs) EstimateSize(checker.AstNode) *checker.SizeEstimate {
	return &checker.SizeEstimate{Max: assumedSize}
}

// EstimateCallCost of this package's functions.
func (costs) EstimateCallCost(function, _ string, _ *checker.AstNode, _ []checker.AstNode) *checker.CallEstimate {
	estimate := &checker.CallEstimate{ResultSize: &checker.SizeEstimate{Max: assumedSize}}
	switch {
	case slices.Contains(parsing, function):
		estimate.CostEstimate = checker.CostEstimate{Min: parseCost, Max: parseCost + assumedSize}
	case slices.Contains(texting, function):
		estimate.CostEstimate = checker.CostEstimate{Min: 1, Max: assumedSize}
	default:
		return nil
	}
	return estimate
}

// CallCost of this package's functions.
func (costs) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	cost := textCost(args, result)
	switch {
	case slices.Contains(parsing, function):
		cost += parseCost
	case !slices.Contains(texting, function):
		return nil
	}
	return &cost
}

// The functions of this package, by what they do.
var (
	parsing = []string{functionCertificate, functionCertificates, functionRequest}
	texting = []string{"lowerAscii", "upperAscii", "trim", "split", "replace", "indexOf", "find", "join"}
)

// told runs a program, and tells its cost. Its error fits on a line.
func told(program cel.Program, variables map[string]any) (ref.Val, uint64, error) {
	value, details, err := program.Eval(variables)
	var cost uint64
	if details != nil && details.ActualCost() != nil {
		cost = *details.ActualCost()
	}
	if err != nil {
		return nil, cost, errors.New(oneLine(err.Error()))
	}
	return value, cost, nil
}

// maxMessage bounds what an expression may say, in characters.
const maxMessage = 500

// oneLine is a text on one line, and not too long.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxMessage {
		text = string(runes[:maxMessage]) + "…"
	}
	return text
}

// instant is a time as CEL has it.
func instant(t time.Time) types.Timestamp { return types.Timestamp{Time: t.UTC()} }
