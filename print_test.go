package rolebus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzPrint: what is printed is what encoding/json makes of it.
func FuzzPrint(f *testing.F) {
	for _, text := range []string{"", "x", `"`, `\`, "\n\t\x00\x1f", "<&>", "é", "\u2028", "\xff", "🦊"} {
		f.Add(text, "b", uint64(1))
		f.Add("plain", text, uint64(maxNumber))
	}
	f.Fuzz(func(t *testing.T, a, b string, number uint64) {
		roles, meta := []Role{Role(a), Role(b)}, map[string]string{a: b, b: a}
		for _, c := range []change{
			{kind: kindState, node: a, id: life{number, 7}, roles: roles, meta: meta},
			{kind: kindDelta, node: b, id: life{7, number}, roles: roles[:1], added: roles},
			{kind: kindState, node: b},
			{kind: kindLeft, node: a, roles: roles, meta: meta},
			{kind: kindExpired, node: b},
		} {
			want := wireRecord{
				Format: wireFormat, Scope: a, Node: c.node, Incarnation: c.id.incarnation, Version: c.id.version,
			}
			if c.kind.isTombstone() {
				want.Gone = c.kind.String()
			} else {
				want.Roles, want.Meta = append([]Role{}, c.roles...), c.meta
			}
			raw, err := marshalJSON(want)
			require.NoError(t, err)
			require.Equal(t, string(raw), string(printRecord(a, c)))
		}
		raw, err := marshalJSON(roles)
		require.NoError(t, err)
		require.Equal(t, string(raw), string(printRoles(nil, roles)))
		raw, err = marshalJSON(meta)
		require.NoError(t, err)
		require.Equal(t, string(raw), string(printMeta(nil, meta)))
	})
}
