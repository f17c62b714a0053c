package exclusive_test

import (
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

// Who is about to leave a scope has no life in it any more, and is no observer: he is told of nothing that he has no term of, also when he joins again.
func TestStrictPartitionsOfAScopeThatIsLeftJustNow(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv, rolebus.WithTTL(lasting), rolebus.WithRoles("worker"))
	ctx, cancel := context.WithCancel(soon(t))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for range 8 {
		asking.Go(func() {
			for ctx.Err() == nil {
				for got := range exclusive.Partitions(ctx, a.Scope, "worker", 4, exclusive.Strict()) {
					for _, p := range got.Partitions {
						if got.Term(p) == nil {
							t.Error("a partition without a term")
							cancel()
						}
					}
					if len(got.Partitions) > 0 || a.Incarnation() == 0 {
						break
					}
				}
			}
		})
	}
	for range 10 {
		require.NoError(t, a.Leave(soon(t), a.Scope.Name()))
		_, err := a.Join(soon(t), a.Scope.Name())
		require.NoError(t, err)
		require.NoError(t, a.AddRoles(soon(t), "worker"))
		eventually(t, "it is listed", func() bool { return a.Snapshot().Nodes("worker").Len() == 1 })
	}
}

// What the servers refuse of partitions that are free is told: else nobody knows why their work is not done.
func TestPartitionsThatTheServersRefuseAreTold(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "x"},
			{Username: "few", Password: "x", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$KV.rolebus.default.partition.>"}}}},
		}
		o.NoAuthUser = "all"
	})
	freePartitions(t, join(t, srv), 4)
	var log refusedLog
	b := join(t, srv, rolebus.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), rolebus.WithNATS(nats.UserInfo("few", "x")),
		rolebus.WithRequestTimeout(200*time.Millisecond), rolebus.WithRoles("worker"))
	w := work(t, b, 4, exclusive.Strict())
	t.Cleanup(func() { t.Log(log.all.String()) })
	eventually(t, "the log says so", func() bool { return log.has("a partition is free, and cannot be claimed") })
	require.Empty(t, w.now().Partitions)
}
