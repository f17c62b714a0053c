package rolebus

import (
	"testing"
	"time"

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
			{kind: kindState, node: a, id: life{number, 7}, ttl: maxTTL, roles: roles, meta: meta},
			{kind: kindDelta, node: b, id: life{7, number}, base: 6, ttl: minTTL, roles: roles[:1], added: roles, removed: roles[1:]},
			{kind: kindDelta, node: b, id: life{7, number}, base: 6, ttl: minTTL},
			{kind: kindState, node: b, ttl: minTTL},
			{kind: kindNotice, node: b, ttl: minTTL, roles: roles},
			{kind: kindLeft, node: a, roles: roles, meta: meta},
			{kind: kindExpired, node: b, due: time.UnixMilli(int64(number % maxNumber))},
		} {
			head := wireChange{Format: wireFormat, Fleet: a, Incarnation: c.id.incarnation, Version: c.id.version}
			body := wireChange{Format: wireFormat, Scope: a, Node: c.node, Incarnation: c.id.incarnation, Version: c.id.version}
			if c.kind.isTombstone() {
				body.Gone = c.kind.String()
				if c.kind == kindExpired {
					body.Due = uint64(c.due.UnixMilli())
				}
				head.Gone, head.Due = body.Gone, body.Due
			} else {
				body.TTL, body.Roles, body.Meta = uint64(c.ttl.Milliseconds()), append([]Role{}, c.roles...), c.meta
			}
			switch c.kind {
			case kindState:
				head.TTL, head.Roles, head.Meta = body.TTL, body.Roles, body.Meta
			case kindDelta:
				head.Base, head.Added, head.Removed = c.base, c.added, c.removed
			}
			for printed, want := range map[string]wireChange{string(printHeader(a, c)): head, string(printBody(a, c)): body} {
				if a == "" || b == "" || number%maxNumber == 0 {
					continue // what is empty is left out by encoding/json; no name is, and no time
				}
				raw, err := marshalJSON(want)
				require.NoError(t, err)
				require.Equal(t, string(raw), printed)
			}
		}
	})
}
