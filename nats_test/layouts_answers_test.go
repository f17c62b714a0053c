package nats_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// An export that says nothing of it lets one answer through. Then what is many is read one by one, or by a consumer if that may have
// many answers, and a joiner has all of it in good time.
func TestLayoutImportOfOneAnswer(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "docs", "layouts", "import.conf"))
	require.NoError(t, err)
	const nodes = 120 // more than are read without a consumer
	one := strings.Replace(string(text), `DIRECT.GET.KV_rolebus", response_type: stream`, `DIRECT.GET.KV_rolebus"`, 1)
	require.NotEqual(t, string(text), one)
	for name, tc := range map[string]struct {
		config string
		warned int // how often; -1 if it depends on how many change
	}{
		"many answers":                 {string(text), 0},
		"one, no consumers":            {one, 1},
		"one, consumers of many":       {withConsumers(t, one, ", response_type: stream"), -1},
		"one, consumers of one":        {withConsumers(t, one, ""), 1},
		"many, consumers of one":       {withConsumers(t, string(text), ""), 0},
		"many, as the page has it all": {withConsumers(t, string(text), ", response_type: stream"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := configured(t, tc.config)
			store := at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithNATS(nats.UserInfo("store", "change me"))}}
			bus(store, "first")
			crowd(t, ns.ClientURL(), nodes, nats.UserInfo("store", "change me"))
			log := &logged{}
			a := bus(at{t, ns.ClientURL(), nil}, "a", rolebus.WithAPIPrefix("JS.store.API"), rolebus.WithRoles("x"),
				rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
			require.Equal(t, nodes, a.Nodes("crowd").Len(), "all are there when it has joined")
			rolebustest.WaitNodes(t, a, "x", 1)
			require.NoError(t, a.AddRoles(t.Context(), "y"))
			eventually(t, "some syncs", func() bool { return a.Snapshot().Stale() == 0 })
			if warned := log.count("only the first one comes"); tc.warned >= 0 {
				require.Equal(t, tc.warned, warned, log.String())
			}
		})
	}
}

// withConsumers adds the rights for consumers to a configuration of imports.
func withConsumers(t *testing.T, config, responses string) string {
	t.Helper()
	exports, imports := "", ""
	for _, subject := range []string{"CONSUMER.CREATE.KV_rolebus.>", "CONSUMER.DELETE.KV_rolebus.>", "CONSUMER.MSG.NEXT.KV_rolebus.>"} {
		many := ""
		if strings.HasPrefix(subject, "CONSUMER.MSG.NEXT") {
			many = responses
		}
		exports += fmt.Sprintf("{ service: \"$JS.API.%s\"%s, accounts: [ APP ] }\n", subject, many)
		imports += fmt.Sprintf("{ service: { account: STORE, subject: \"$JS.API.%s\" }, to: \"JS.store.API.%[1]s\" }\n", subject)
	}
	for list, more := range map[string]string{"exports: [\n": exports, "imports: [\n": imports} {
		require.Equal(t, 1, strings.Count(config, list))
		config = strings.Replace(config, list, list+more, 1)
	}
	return config
}

// crowd writes records and leases of many nodes, which run for an hour.
func crowd(t *testing.T, url string, nodes int, opts ...nats.Option) {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	require.NoError(t, err)
	defer nc.Close()
	js := jetStream(t, nc)
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	now, due := time.Now().UnixMilli(), time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	fleet := fmt.Sprintf(`{"format":1,"fleet":%q,`, stream.CachedInfo().Config.Metadata["rolebus.fleet"])
	state := fmt.Sprintf(`"incarnation":%d,"version":1,"ttl":%d,"roles":["crowd"]}`, now, time.Hour.Milliseconds())
	end := fmt.Sprintf(`"incarnation":%d,"version":1001,"gone":"expired","due":%d}`, now, due.UnixMilli())
	for i := range nodes {
		node := fmt.Sprint("n", i)
		record, body := "$KV.rolebus.default."+node, fmt.Sprintf(`{"format":1,"scope":"default","node":%q,`, node)
		for _, msg := range []*nats.Msg{
			{Subject: "$KV.rolebus=lease.default." + node, Data: []byte(body + end), Header: nats.Header{
				"KV-Operation": {"DEL"}, "Rolebus": {fleet + end},
				"Nats-Schedule": {"@at " + due.Format(time.RFC3339Nano)}, "Nats-Schedule-TTL": {"1h"}, "Nats-Schedule-Target": {record},
			}},
			{Subject: record, Data: []byte(body + state), Header: nats.Header{"Rolebus": {fleet + state}}},
		} {
			_, err := js.PublishMsgAsync(msg)
			require.NoError(t, err)
		}
	}
	<-js.PublishAsyncComplete()
}
