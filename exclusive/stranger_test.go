package exclusive_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

func TestWhoListensToEverythingHoldsNothingUp(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	stranger := srv.Conn()
	_, err := stranger.Subscribe(">", func(*nats.Msg) {})
	require.NoError(t, err)
	_, err = stranger.Subscribe("rolebus.*.default.>", func(msg *nats.Msg) { _ = msg.Respond([]byte("+OK")) })
	require.NoError(t, err)
	require.NoError(t, stranger.Flush())
	a, b := join(t, srv), join(t, srv)
	term := campaign(t, a, "leader")
	require.NoError(t, term.Resign(soon(t)))
	require.Greater(t, campaign(t, b, "leader").Token(), term.Token())
}

func TestHoweverManyAskTheBucketIsReadNowAndThen(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv, rolebus.WithTTL(lasting))
	free(t, a, "claim", "leader")
	term := campaign(t, a, "leader")
	watcher, nc := srv.Conn(), srv.Conn()
	reads, err := watcher.SubscribeSync("$JS.API.DIRECT.GET.KV_rolebus.$KV.rolebus.default.claim.leader")
	require.NoError(t, err)
	require.NoError(t, watcher.Flush())
	answers, err := nc.SubscribeSync("answers")
	require.NoError(t, err)
	const questions = 2000
	for range questions {
		require.NoError(t, nc.PublishRequest(a.Subject("claim", "leader"), "answers", nil))
	}
	for range questions {
		_, err := answers.NextMsgWithContext(soon(t))
		require.NoError(t, err)
	}
	require.NoError(t, term.Resign(soon(t)))
	require.NoError(t, watcher.Flush())
	read, _, err := reads.Pending()
	require.NoError(t, err)
	require.NotZero(t, read)
	require.Less(t, read, questions/4)
}

func TestAResignationThatTheBucketHasLostIsOneStill(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv)
	term := campaign(t, a, "leader")
	entries := a.Entries("claim")
	claim, err := entries.Get(soon(t), "leader")
	require.NoError(t, err)
	require.NoError(t, term.Resign(soon(t)))
	gone, err := entries.Get(soon(t), "leader")
	require.NoError(t, err)
	require.True(t, gone.Removed)
	_, err = entries.Put(soon(t), "leader", claim.Value, gone.Generation) // as a bucket that went back has it
	require.NoError(t, err)
	b := join(t, srv) // knows only what the bucket says
	require.Greater(t, campaign(t, b, "leader").Token(), term.Token())
}

// forge writes a claim.
func forge(t *testing.T, by *rolebus.Bus, kind, name, node string, incarnation, token uint64) {
	t.Helper()
	entries := by.Entries(kind)
	e, err := entries.Get(soon(t), name)
	require.NoError(t, err)
	_, err = entries.Put(soon(t), name, fmt.Sprintf(`{"node":%q,"incarnation":%d,"token":%d,"ttl":1000,"since":1}`, node, incarnation, token), e.Generation)
	require.NoError(t, err)
}

func TestTheSameTokenInOtherHandsEndsTheTerm(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv), join(t, srv)
	term := campaign(t, a, "leader")
	forge(t, b, "claim", "leader", b.Name(), b.Incarnation(), term.Token())
	<-term.Context().Done()
	require.ErrorIs(t, context.Cause(term.Context()), exclusive.ErrTaken)
	require.Greater(t, campaign(t, b, "leader").Token(), term.Token(), "which is nobody's")
}

func TestGarbageIsWrittenOver(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv, rolebus.WithTTL(lasting), rolebus.WithSyncInterval(100*time.Millisecond)), join(t, srv)
	entries := b.Entries("claim")
	free(t, b, "claim", "leader")
	term := campaign(t, a, "leader")
	stands := func() (is bool) {
		e, err := entries.Get(soon(t), "leader")
		require.NoError(t, err)
		var claim struct{ Token uint64 }
		return !e.Removed && json.Unmarshal([]byte(e.Value), &claim) == nil && claim.Token == term.Token()
	}
	for _, garbage := range []string{`null`, `[]`, `"x"`, `{}`, `{"node":"","incarnation":1,"token":1,"ttl":1000,"since":0}`, `{"node":"a","incarnation":1,"token":9007199254740992,"ttl":1000,"since":0}`} {
		e, err := entries.Get(soon(t), "leader")
		require.NoError(t, err)
		_, err = entries.Put(soon(t), "leader", garbage, e.Generation)
		require.NoError(t, err)
		eventually(t, garbage, stands)
		require.NoError(t, term.Context().Err(), garbage)
	}
	kv := func(op, subject string, header nats.Header) {
		msg := nats.NewMsg(subject)
		msg.Header = header
		_, err := srv.Conn().RequestMsg(msg, rolebusPatience)
		require.NoError(t, err, op)
	}
	key := "$KV.rolebus.default.claim.leader"
	kv("del", key, nats.Header{"KV-Operation": {"DEL"}})
	eventually(t, "after somebody's delete", stands)
	kv("purge", key, nats.Header{"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}})
	eventually(t, "after somebody's purge", stands)
	_, err := srv.Conn().Request("$JS.API.STREAM.PURGE.KV_rolebus", []byte(`{"filter":"`+key+`"}`), rolebusPatience)
	require.NoError(t, err)
	eventually(t, "after a purge that nobody hears of", stands)
	require.NoError(t, term.Context().Err())
	require.NoError(t, term.Resign(soon(t)))
}

func TestAClaimWithTheLastTokenEndsItAll(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv)
	campaign(t, a, "other")
	forge(t, a, "claim", "leader", a.Name(), a.Incarnation(), 1<<53-1)
	_, err := exclusive.Campaign(soon(t), a.Scope, "leader")
	require.ErrorContains(t, err, "no token is left")
}
