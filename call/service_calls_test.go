package call_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// services asks all services, or those of a name, until so many have answered.
func services[Answer any](t *testing.T, nc *nats.Conn, subject string, most int) (answers []Answer) {
	t.Helper()
	rolebustest.Eventually(t, subject+" is answered", func() bool {
		answers = nil
		inbox := nats.NewInbox()
		sub, err := nc.SubscribeSync(inbox)
		require.NoError(t, err)
		defer func() { _ = sub.Unsubscribe() }()
		require.NoError(t, nc.PublishRequest(subject, inbox, nil))
		for len(answers) < most {
			msg, err := sub.NextMsg(time.Second)
			if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) {
				return false
			}
			require.NoError(t, err)
			var answer Answer
			require.NoError(t, json.Unmarshal(msg.Data, &answer))
			answers = append(answers, answer)
		}
		return true
	})
	return answers
}

// statsOf returns what the services of a name did, by node and endpoint.
func statsOf(t *testing.T, nc *nats.Conn, name string, nodes int) map[string]map[string]*micro.EndpointStats {
	t.Helper()
	all := map[string]map[string]*micro.EndpointStats{}
	for _, stats := range services[micro.Stats](t, nc, "$SRV.STATS."+name, nodes) {
		require.Equal(t, micro.StatsResponseType, stats.Type)
		all[stats.Metadata["node"]] = map[string]*micro.EndpointStats{}
		for _, e := range stats.Endpoints {
			all[stats.Metadata["node"]][e.Name] = e
		}
	}
	return all
}

func TestNATSToolsSeeWhatEachNodeHandled(t *testing.T) {
	t.Parallel()
	caller, nodes := fleet(t, "a", "b.2 ü")
	nc := caller.Conn()
	const scope = "eu.west"
	_, err := caller.Join(soon(t), scope)
	require.NoError(t, err)
	s := caller.In(scope)
	begun, done := make(chan struct{}), make(chan struct{})
	endpoints := map[string]map[string]*call.Endpoint{}
	for name, b := range nodes {
		here := b.In(scope)
		endpoints[name] = map[string]*call.Endpoint{
			"charge": handle(t, here, "charge", echo),
			"größe": handle(t, here, "größe", func(context.Context, string) (string, error) {
				return "", call.Error("NO_SIZE", "no such size: "+name)
			}),
			"slow": handle(t, here, "slow", func(ctx context.Context, in string) (string, error) {
				begun <- struct{}{}
				<-done
				return in, nil
			}, call.Concurrency(1), call.Queue(1)),
		}
		require.NoError(t, here.AddRoles(soon(t), "worker"))
	}
	rolebustest.WaitNodes(t, s, "worker", 2)
	charge := method[string, string](t, s, "worker", "charge")
	size := method[string, string](t, s, "worker", "größe")
	slow := method[string, string](t, s, "worker", "slow")
	a, b := s.Nodes("worker").Find("a"), s.Nodes("worker").Find("b.2 ü")

	for range 7 {
		_, err := charge.CallNode(soon(t), a, "in")
		require.NoError(t, err)
	}
	for range 3 {
		_, err := size.CallNode(soon(t), b, "in")
		require.ErrorContains(t, err, "no such size")
	}
	answers := make(chan error, 2)
	ask := func() {
		_, err := slow.CallNode(soon(t), b, "in")
		answers <- err
	}
	go ask()
	<-begun
	go ask()
	waits := func() bool { return endpoints["b.2 ü"]["slow"].Stats().Waiting == 1 }
	rolebustest.Eventually(t, "one runs and one waits", waits)
	_, err = slow.CallNode(soon(t), b, "in")
	require.ErrorIs(t, err, call.ErrBusy)

	names := map[string]string{"charge": "charge", "größe": "gr____e-d353a267", "slow": "slow"}
	name := services[micro.Ping](t, nc, "$SRV.PING", 2)[0].Name
	type data struct{ Refused, Running, Waiting int }
	extra := func(e *micro.EndpointStats) (data data) {
		require.NoError(t, json.Unmarshal(e.Data, &data))
		return data
	}
	now := statsOf(t, nc, name, 2)["b.2 ü"]["slow"]
	require.Equal(t, data{1, 1, 1}, extra(now))
	require.Equal(t, [2]int{1, 1}, [2]int{now.NumRequests, now.NumErrors}, "it was refused")
	require.Contains(t, now.LastError, "busy")

	close(done)
	<-begun
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
	rolebustest.Eventually(t, "everything is counted", func() bool {
		return endpoints["b.2 ü"]["slow"].Stats().Requests == 3 && endpoints["a"]["charge"].Stats().Requests == 7 && endpoints["b.2 ü"]["größe"].Stats().Requests == 3
	})
	all := statsOf(t, nc, name, 2)
	for node, methods := range endpoints {
		require.Len(t, all[node], 3)
		for method, e := range methods {
			want, got := e.Stats(), all[node][names[method]]
			require.Equal(t, []any{int(want.Requests), int(want.Errors), want.LastError, want.Time, ""},
				[]any{got.NumRequests, got.NumErrors, got.LastError, got.ProcessingTime, got.QueueGroup}, node+" "+method)
			require.Equal(t, data{int(want.Refused), want.Running, want.Waiting}, extra(got))
			require.Equal(t, s.Address("call", s.Nodes("worker").Find(node), method), got.Subject)
		}
	}
	require.Equal(t, 7, all["a"]["charge"].NumRequests)
	require.Zero(t, all["b.2 ü"]["charge"].NumRequests)
	failed := all["b.2 ü"][names["größe"]]
	require.Equal(t, [2]int{3, 3}, [2]int{failed.NumRequests, failed.NumErrors})
	require.Contains(t, failed.LastError, "no such size: b.2 ü")
	require.Equal(t, all["b.2 ü"]["slow"].ProcessingTime/3, all["b.2 ü"]["slow"].AverageProcessingTime)
	require.Greater(t, all["b.2 ü"]["slow"].ProcessingTime, time.Duration(0))

	for _, e := range endpoints["a"] {
		require.NoError(t, e.Close(soon(t)))
	}
	rolebustest.Eventually(t, "who handles nothing is no service", func() bool {
		_, err := nc.Request("$SRV.PING."+name+".a-"+strconv.FormatUint(a.Incarnation(), 10), nil, 100*time.Millisecond)
		return errors.Is(err, nats.ErrNoResponders)
	})
}

// A program that knows nothing but ADR-32 finds a method, asks for it, and hears of errors.
func TestWhoKnowsOnlyADR32CanCall(t *testing.T) {
	server := rolebustest.NewServer(t)
	a := server.Bus(rolebus.WithNode("a"))
	handle(t, a.Scope, "divide", func(_ context.Context, in [2]int) (int, error) {
		if in[1] == 0 {
			return 0, call.Error("ZERO", "division by nothing")
		}
		return in[0] / in[1], nil
	})
	nc := server.Conn()
	id := services[micro.Ping](t, nc, "$SRV.PING", 1)[0]
	msg, err := nc.RequestWithContext(soon(t), "$SRV.INFO."+id.Name+"."+id.ID, nil)
	require.NoError(t, err)
	var info micro.Info
	require.NoError(t, json.Unmarshal(msg.Data, &info))
	at := slices.IndexFunc(info.Endpoints, func(e micro.EndpointInfo) bool { return e.Name == "divide" })
	require.GreaterOrEqual(t, at, 0)
	answer, err := nc.RequestWithContext(soon(t), info.Endpoints[at].Subject, []byte(`[42,6]`))
	require.NoError(t, err)
	require.Equal(t, "7", string(answer.Data))
	require.Empty(t, answer.Header.Get(micro.ErrorCodeHeader))
	answer, err = nc.RequestWithContext(soon(t), info.Endpoints[at].Subject, []byte(`[42,0]`))
	require.NoError(t, err)
	require.Equal(t, "ZERO", answer.Header.Get(micro.ErrorCodeHeader))
	require.Equal(t, "division by nothing", answer.Header.Get(micro.ErrorHeader))
}
