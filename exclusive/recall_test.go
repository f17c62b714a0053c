package exclusive_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// ahead has a node that remembers a term of leader which was given up with a token far ahead of the clock, and where in the bucket that stands.
func ahead(t *testing.T, srv *rolebustest.Server) (a *rolebus.Bus, before rolebus.Entry, token, generation uint64) {
	t.Helper()
	a = join(t, srv)
	term := campaign(t, a, "leader")
	token = term.Token() + 3_600_000
	require.NoError(t, term.Resign(soon(t)))
	e := a.Entries("claim")
	before, err := e.Get(soon(t), "leader")
	require.NoError(t, err)
	generation, err = e.Remove(soon(t), "leader", claimOf(a, token), before.Generation) // as a term of before would have left it
	require.NoError(t, err)
	knows(t, srv, a, token)
	return a, before, token, generation
}

// knows waits until a node remembers a token of leader.
func knows(t *testing.T, srv *rolebustest.Server, a *rolebus.Bus, token uint64) {
	t.Helper()
	nc := srv.Conn()
	eventually(t, "it has heard of that", func() bool {
		answer, err := nc.RequestWithContext(soon(t), a.Subject("recall", "terms"), []byte(`{"kind":"claim","name":"leader"}`))
		require.NoError(t, err)
		var m struct{ Claim struct{ Token uint64 } }
		require.NoError(t, json.Unmarshal(answer.Data, &m))
		return m.Claim.Token == token
	})
}

// A token that was far ahead, because the servers' clock was, and a bucket that has lost it: whoever is new asks those who remember.
func TestTokensGrowThoughTheBucketHasLostThemAndTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	_, _, token, _ := ahead(t, srv)
	purge(t, srv, "leader")

	b := join(t, srv)
	next := campaign(t, b, "leader")
	require.Greater(t, next.Token(), token)
	h, is := exclusive.Holder(b.Scope, "leader")
	require.True(t, is)
	require.Equal(t, next.Token(), h.Token)
}

// The same, where who is next remembers something, but not the last.
func TestTokensGrowThoughWhoIsNextHasMissedTheLast(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a, b := join(t, srv), link.Bus(withTTL())
	campaign(t, b, "other")
	term := campaign(t, a, "leader")
	eventually(t, "b knows of it", func() bool { _, is := exclusive.Holder(b.Scope, "leader"); return is })
	require.NoError(t, term.Resign(soon(t)))
	eventually(t, "b knows that it was given up", func() bool { _, is := exclusive.Holder(b.Scope, "leader"); return !is })
	link.Cut()
	eventually(t, "b to be cut off", func() bool { return !b.Connected() })
	ahead := term.Token() + 3_600_000
	e := a.Entries("claim")
	stands, err := e.Get(soon(t), "leader")
	require.NoError(t, err)
	_, err = e.Remove(soon(t), "leader", claimOf(a, ahead), stands.Generation)
	require.NoError(t, err)
	knows(t, srv, a, ahead)
	purge(t, srv, "leader")
	link.Mend()
	require.Greater(t, campaign(t, b, "leader").Token(), ahead)
}

// The same, where the bucket has gone back to a term of before, of which it says what counted then.
func TestTokensGrowThoughTheBucketWentBackToATermOfBefore(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, before, token, generation := ahead(t, srv)
	_, err := a.Entries("claim").Remove(soon(t), "leader", before.Value, generation)
	require.NoError(t, err)
	require.Greater(t, campaign(t, join(t, srv), "leader").Token(), token)
}

// The same, where the term of before is of somebody who has gone: those who remember go by that, too, but for its token.
func TestTokensGrowThoughTheBucketWentBackToWhoHasGone(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, _, token, generation := ahead(t, srv)
	_, err := a.Entries("claim").Put(soon(t), "leader", `{"node":"gone","incarnation":1,"token":7,"ttl":1000,"since":1}`, generation)
	require.NoError(t, err)
	knows(t, srv, a, 7)
	require.Greater(t, campaign(t, join(t, srv), "leader").Token(), token)
}

// claimOf is a claim of a node's life with a token.
func claimOf(b *rolebus.Bus, token uint64) string {
	return fmt.Sprintf(`{"node":%q,"incarnation":%d,"token":%d,"ttl":1000,"since":1}`, b.Name(), b.Incarnation(), token)
}

// purge has the bucket lose what it has of a name, of which nobody is told.
func purge(t *testing.T, srv *rolebustest.Server, name string) {
	js, err := jetstream.New(srv.Conn())
	require.NoError(t, err)
	stream, err := js.Stream(soon(t), "KV_rolebus")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(soon(t), jetstream.WithPurgeSubject("$KV.rolebus.default.claim."+name)))
}
