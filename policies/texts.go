package policies

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// maxText is how long a text may be that a function of texts makes, in bytes: CEL's own
// extension has no bound, and what it makes is paid for only when it is made.
const maxText = 1 << 20

// textFunctions are those of CEL's extension for texts (and find, of Kubernetes') that rules
// need, with a bound on what they make. The first argument is what they are called on.
func textFunctions() cel.EnvOption {
	text, list := cel.StringType, cel.ListType(cel.StringType)
	return cel.Lib(library{
		method("lowerAscii", text, func(a []string) (any, error) { return strings.ToLower(a[0]), nil }, text),
		method("upperAscii", text, func(a []string) (any, error) { return strings.ToUpper(a[0]), nil }, text),
		method("trim", text, func(a []string) (any, error) { return strings.TrimSpace(a[0]), nil }, text),
		method("split", list, func(a []string) (any, error) { return strings.Split(a[0], a[1]), nil }, text, text),
		method("replace", text, replace, text, text, text),
		method("indexOf", cel.IntType, func(a []string) (any, error) { return int64(strings.Index(a[0], a[1])), nil }, text, text),
		method("find", text, find, text, text),
		cel.Function("join", cel.MemberOverload("join_list_string", []*cel.Type{list, text}, text, cel.BinaryBinding(join))),
	})
}

// library is a list of functions.
type library []cel.EnvOption

// CompileOptions are the functions' declarations and bindings.
func (l library) CompileOptions() []cel.EnvOption { return l }

// ProgramOptions are none.
func (library) ProgramOptions() []cel.ProgramOption { return nil }

// method declares a function that is called on a text, with further texts.
func method(name string, result *cel.Type, call func([]string) (any, error), arguments ...*cel.Type) cel.EnvOption {
	binding := cel.FunctionBinding(func(values ...ref.Val) ref.Val {
		given := make([]string, len(values))
		for i, value := range values {
			given[i], _ = value.Value().(string)
		}
		made, err := call(given)
		if err != nil {
			return types.NewErr("%s: %s", name, err)
		}
		return types.DefaultTypeAdapter.NativeToValue(made)
	})
	return cel.Function(name, cel.MemberOverload(fmt.Sprintf("%s_text_%d", name, len(arguments)), arguments, result, binding))
}

var errTooLong = fmt.Errorf("would make more than %d bytes", maxText)

func replace(a []string) (any, error) {
	grows := max(0, len(a[2])-len(a[1]))
	if count := strings.Count(a[0], a[1]); len(a[0])+count*grows > maxText {
		return nil, errTooLong
	}
	return strings.ReplaceAll(a[0], a[1], a[2]), nil
}

// find is the first part of a text that is like a pattern (RE2); empty if there is none.
func find(a []string) (any, error) {
	pattern, err := regexp.Compile(a[1])
	if err != nil {
		return nil, err
	}
	return pattern.FindString(a[0]), nil
}

func join(values, separator ref.Val) ref.Val {
	list, _ := values.(traits.Lister)
	between, _ := separator.Value().(string)
	var joined strings.Builder
	for it, i := list.Iterator(), 0; it.HasNext() == types.True; i++ {
		part, isText := it.Next().Value().(string)
		if !isText {
			return types.NewErr("join: item %d is no text", i)
		}
		if i > 0 {
			joined.WriteString(between)
		}
		joined.WriteString(part)
		if joined.Len() > maxText {
			return types.NewErr("join: %s", errTooLong)
		}
	}
	return types.String(joined.String())
}

// textCost of a call: what it reads and what it makes, as CEL counts the length of texts.
func textCost(args []ref.Val, result ref.Val) uint64 {
	cost := uint64(1)
	for _, value := range append([]ref.Val{result}, args...) {
		if sized, ok := value.(traits.Sizer); ok {
			size, _ := sized.Size().Value().(int64)
			cost += uint64(size) / 10
		}
	}
	return cost
}
