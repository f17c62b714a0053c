package call_test

import (
	"context"
	"strings"
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAMethodMayHaveAnyName(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	names := []string{
		"x", " ", ".", "a.b", "a b", "*", ">", "a.>", "=", "=41", "A", "$SRV.PING", "\x00\n", "größe", "名前", "😀", "e\u0301", "é", `"`,
		strings.Repeat("a", 200), strings.Repeat("😀", 16) + strings.Repeat("a", 8), strings.Repeat(".", 66) + "aa",
	}
	for _, name := range names {
		handle(t, nodes["w1"].Scope, name, func(context.Context, string) (string, error) { return name, nil })
	}
	for _, name := range names[len(names)-3:] {
		require.Len(t, rolebus.SubjectToken(name), 200)
	}
	work(t, nodes["w1"], caller)
	for _, name := range names {
		out, err := method[string, string](t, caller.Scope, "worker", name).Call(soon(t), "x")
		require.NoError(t, err, "%q", name)
		assert.Equal(t, name, out)
	}
}

func TestMethodsWithBadNamesAreRefused(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	for _, name := range []string{"", "\xff", strings.Repeat("a", 201), strings.Repeat("😀", 16) + strings.Repeat("a", 9), strings.Repeat(".", 67)} {
		_, err := call.New[string, string](caller.Scope, "worker", name)
		require.ErrorIs(t, err, rolebus.ErrBadName, "%q", name)
		_, err = call.Handle(nodes["w1"].Scope, name, echo)
		require.ErrorIs(t, err, rolebus.ErrBadName, "%q", name)
	}
}
