package nats_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
)

// Wherever the bucket is, a name has one holder: it is passed on, taken after a crash, and written again after it was lost.
func TestTermsOfABucketThatIsElsewhere(t *testing.T) {
	t.Parallel()
	inHub := []rolebus.Option{rolebus.WithDomain("hub")}
	for name, start := range map[string]func(*testing.T) (there, here at){
		"another domain": func(t *testing.T) (there, here at) {
			hub, leaf := rolebustest.NewLeaf(t, func(o *server.Options) { o.JetStreamDomain = o.ServerName })
			awaitLink(t, hub, leaf)
			return at{t, hub.URL(), inHub}, at{t, leaf.URL(), inHub}
		},
		"another account": func(t *testing.T) (there, here at) {
			ns := layout(t, "import.conf")
			return at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithNATS(nats.UserInfo("store", "change me"))}},
				at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithAPIPrefix("JS.store.API")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			within, done := context.WithTimeout(t.Context(), time.Minute)
			defer done()
			one, other := start(t)
			lasting := []rolebus.Option{rolebus.WithTTL(time.Minute), rolebus.WithSyncInterval(100 * time.Millisecond)}
			there, here := bus(one, "there", lasting...), bus(other, "here", lasting...)
			given := fmt.Sprintf(`{"node":"there","incarnation":%d,"token":1,"ttl":1000,"since":1}`, there.Incarnation())
			_, err := here.Entries("claim").Remove(within, "leader", given, 0) // so nobody waits until the bucket is old enough
			require.NoError(t, err)
			campaign := func(b *rolebus.Bus) *exclusive.Term {
				term, err := exclusive.Campaign(within, b.Scope, "leader")
				require.NoError(t, err)
				return term
			}
			holds := func(b *rolebus.Bus, token uint64) {
				t.Helper()
				eventually(t, b.Name()+" to know the holder", func() bool {
					h, _ := exclusive.Holder(b.Scope, "leader")
					return h.Token == token
				})
			}
			term := campaign(here)
			holds(there, term.Token())
			require.NoError(t, term.Resign(within))
			next := campaign(there)
			require.Greater(t, next.Token(), term.Token())
			holds(here, next.Token())

			// What the bucket has lost, of which nobody is told, its holder writes again.
			e, err := there.Entries("claim").Get(within, "leader")
			require.NoError(t, err)
			_, err = there.Conn().RequestWithContext(within, "$JS.API.STREAM.PURGE.KV_rolebus", []byte(`{"filter":"$KV.rolebus.default.claim.leader"}`))
			require.NoError(t, err)
			eventually(t, "the claim to stand again", func() bool {
				again, err := there.Entries("claim").Get(within, "leader")
				require.NoError(t, err)
				require.NoError(t, context.Cause(next.Context()))
				return again.Value == e.Value && again.Generation > e.Generation
			})
			require.NoError(t, next.Context().Err())

			// Who has it then dies.
			dies := bus(one, "dies", rolebus.WithTTL(time.Second))
			require.NoError(t, next.Resign(within))
			before := campaign(dies)
			holds(here, before.Token())
			over, cancel := context.WithCancel(within)
			cancel()
			_ = dies.Shutdown(over)
			last := campaign(here)
			require.Error(t, before.Context().Err())
			require.Greater(t, last.Token(), before.Token())
		})
	}
}
