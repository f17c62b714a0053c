package exclusive_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// The record of the holder is gone with the bucket, and its lease; its token is not.
func TestABucketThatIsMadeAnewHasLargerTokensAndNoTwoHolders(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv), join(t, srv)
	forge(t, b, "claim", "leader", b.Name(), b.Incarnation(), 1<<52) // far ahead of the clock
	campaign(t, b, "other")                                          // whoever claims gives up what is said of it
	term := campaign(t, a, "leader")
	require.Greater(t, term.Token(), uint64(1<<52))
	next := make(chan *exclusive.Term, 1)
	go func() {
		term, _ := exclusive.Campaign(soon(t), b.Scope, "leader")
		next <- term
	}()
	eventually(t, "b knows it", func() bool { h, _ := exclusive.Holder(b.Scope, "leader"); return h.Token == term.Token() })
	_, err := srv.Conn().Request("$JS.API.STREAM.DELETE.KV_rolebus", nil, rolebusPatience)
	require.NoError(t, err)
	second := <-next
	require.NotNil(t, second)
	require.Error(t, term.Context().Err(), "the first one had stopped before")
	require.Greater(t, second.Token(), term.Token())
}

// refusedLog is a log that may be read while it is written.
type refusedLog struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *refusedLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(line)
}

func (l *refusedLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.all.Bytes(), []byte(text))
}

func TestWhatTheServersRefuseIsTold(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "x"},
			{Username: "few", Password: "x", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$KV.rolebus.default.claim.>"}}}},
		}
		o.NoAuthUser = "all"
	})
	join(t, srv)
	var log refusedLog
	b := join(t, srv, rolebus.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), rolebus.WithNATS(nats.UserInfo("few", "x")), rolebus.WithRequestTimeout(200*time.Millisecond))
	ctx, cancel := context.WithCancel(soon(t))
	ended := make(chan error)
	go func() {
		_, err := exclusive.Campaign(ctx, b.Scope, "leader")
		ended <- err
	}()
	eventually(t, "the log says so", func() bool { return log.has("a name is free, and cannot be claimed") })
	cancel()
	err := <-ended
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "before that")
	t.Log(err)
}
