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
	"github.com/rolebus/rolebus/rolebustest"
)

// Wherever the bucket is: there, and nowhere else, entries are written, and heard everywhere.
func TestEntriesOfABucketThatIsElsewhere(t *testing.T) {
	t.Parallel()
	type busser interface {
		Bus(...rolebus.Option) *rolebus.Bus
	}
	for name, start := range map[string]func(*testing.T) (there, here busser){
		"another domain": func(t *testing.T) (busser, busser) {
			hub, leaf := rolebustest.NewLeaf(t, func(o *server.Options) { o.JetStreamDomain = o.ServerName })
			awaitLink(t, hub, leaf)
			inHub := []rolebus.Option{rolebus.WithDomain("hub")}
			return at{t, hub.URL(), inHub}, at{t, leaf.URL(), inHub}
		},
		"another account": func(t *testing.T) (busser, busser) {
			ns := layout(t, "import.conf")
			return at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithNATS(nats.UserInfo("store", "change me"))}},
				at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithAPIPrefix("JS.store.API")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := start(t)
			there, here := bus(one, "there", rolebus.WithRoles("x")), bus(other, "here", rolebus.WithRoles("x"))
			f, g := followed(t, there.Entries("claim")), followed(t, here.Entries("claim"))
			generation := put(t, here.Entries("claim"), "leader", `"here"`, 0)
			f.has(t, "leader", `"here"`)
			g.has(t, "leader", `"here"`)
			_, err := there.Entries("claim").Put(t.Context(), "leader", "1", 0)
			require.ErrorIs(t, err, rolebus.ErrConflict)
			put(t, there.Entries("claim"), "leader", `"there"`, generation)
			f.has(t, "leader", `"there"`)
			g.has(t, "leader", `"there"`)
			got, err := here.Entries("claim").Get(t.Context(), "leader")
			require.NoError(t, err)
			require.Equal(t, `"there"`, got.Value)
			for i := range 300 { // more than a page has
				put(t, here.Entries("many"), fmt.Sprint(i), "1", 0)
			}
			h := followed(t, here.Entries("many"))
			eventually(t, "all", func() bool { return len(h.knows()) == 300 })
		})
	}
}

// Where no answer comes nobody knows whether an entry was written, and the error says so.
func TestAnEntryOfWhichNobodyKnows(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a, b := bus(link, "a", rolebus.WithRoles("x"), rolebus.WithTTL(time.Minute)), bus(srv, "b", rolebus.WithRoles("x"))
	put(t, a.Entries("claim"), "n", "1", 0)
	link.StallDown()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := a.Entries("claim").Put(ctx, "leader", "1", 0)
	require.ErrorIs(t, err, rolebus.ErrNotConfirmed)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, rolebus.ErrConflict)
	followed(t, b.Entries("claim")).has(t, "leader", "1")
}
