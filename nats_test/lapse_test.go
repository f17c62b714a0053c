package nats_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// Records that stand, and are not buried by their leases.

// smallAccount gives the account APP, and everybody is in it, so much room.
func smallAccount(t *testing.T, room string) func(*server.Options) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "accounts.conf")
	config := fmt.Sprintf(`
accounts { APP { jetstream { max_store: %s, max_mem: 0 }, users [ { user: app, password: app } ] }, SYS { users [ { user: sys, password: sys } ] } }
system_account: SYS
no_auth_user: app
`, room)
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	return func(o *server.Options) {
		parsed, err := server.ProcessConfigFile(file)
		require.NoError(t, err)
		o.Accounts, o.Users, o.SystemAccount, o.NoAuthUser = parsed.Accounts, parsed.Users, parsed.SystemAccount, parsed.NoAuthUser
	}
}

// fillUp takes all the room that an account has, to the last byte, and keeps it taken until the returned is called.
func fillUp(t *testing.T, js jetstream.JetStream) (free func()) {
	t.Helper()
	ctx := t.Context()
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "FILLER", Subjects: []string{"filler.>"}})
	require.NoError(t, err)
	for size := 64 << 10; size > 0; size /= 2 {
		for {
			if _, err := js.Publish(ctx, "filler.x", make([]byte, size)); err != nil {
				break
			}
		}
	}
	return func() { require.NoError(t, js.DeleteStream(ctx, "FILLER")) }
}

// corpse writes what a node left behind that died just now: a record, and a lease, as change makes it; no lease if that returns nil.
func corpse(t *testing.T, js jetstream.JetStream, node string, change func(lease *nats.Msg) *nats.Msg) {
	t.Helper()
	now := time.Now().UnixMilli()
	record, state := "$KV.rolebus.default."+node, fmt.Sprintf(`"incarnation":%d,"version":1,"ttl":%d,"roles":["x"]}`, now, ttl.Milliseconds())
	due := time.Now().Add(ttl).UTC().Truncate(time.Millisecond)
	end := fmt.Sprintf(`"incarnation":%d,"version":1001,"gone":"expired","due":%d}`, now, due.UnixMilli())
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	fleet := fmt.Sprintf(`{"format":1,"fleet":%q,`, stream.CachedInfo().Config.Metadata["rolebus.fleet"])
	body := fmt.Sprintf(`{"format":1,"scope":"default","node":%q,`, node)
	lease := &nats.Msg{Subject: "$KV.rolebus=lease.default." + node, Data: []byte(body + end), Header: nats.Header{
		"KV-Operation": {"DEL"}, "Rolebus": {fleet + end},
		"Nats-Schedule": {"@at " + due.Format(time.RFC3339Nano)}, "Nats-Schedule-TTL": {"1h"}, "Nats-Schedule-Target": {record},
	}}
	if change != nil {
		lease = change(lease)
	}
	if lease != nil {
		_, err = js.PublishMsg(t.Context(), lease)
		require.NoError(t, err)
	}
	_, err = js.PublishMsg(t.Context(), &nats.Msg{Subject: record, Data: []byte(body + state), Header: nats.Header{"Rolebus": {fleet + state}}})
	require.NoError(t, err)
}

// Whatever became of the lease of one who died: others learn of it by whole readings.
func TestPromise4WhoDiedIsDroppedWhateverItsLeaseSays(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	js := jetStream(t, srv.Conn())
	a, o, b := bus(srv, "a"), bus(srv, "o", rolebus.WithObserver()), bus(srv, "b")
	living := watch(t, a.Scope)
	// By mallory, who may write its own record and lease only: the server does the rest.
	byMallory := func(subject string, hdr nats.Header) {
		t.Helper()
		hdr.Set("Nats-Schedule-TTL", "1h")
		_, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: hdr, Data: []byte("{}")})
		require.NoError(t, err)
	}
	corpse(t, js, "never-had-one", func(*nats.Msg) *nats.Msg { return nil })
	corpse(t, js, "taken-away", nil)
	byMallory("$KV.rolebus.default.mallory", nats.Header{
		"Nats-Scheduler": {"$KV.rolebus=lease.default.taken-away"}, "Nats-Schedule-Next": {"purge"},
	})
	corpse(t, js, "written-over", nil)
	byMallory("$KV.rolebus=lease.default.mallory", nats.Header{
		"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {"$KV.rolebus=lease.default.written-over"},
	})
	byMallory("$KV.rolebus=lease.default.mallory-2", nats.Header{
		"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {"$KV.rolebus=lease.default.b"}, // who lives
	})
	corpse(t, js, "aimed-elsewhere", func(lease *nats.Msg) *nats.Msg {
		lease.Header.Set("Nats-Schedule-Target", "$KV.rolebus.default.nobody")
		lease.Header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		return lease
	})
	corpse(t, js, "due-in-an-hour", func(lease *nats.Msg) *nats.Msg {
		lease.Header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		return lease
	})
	corpse(t, js, "garbage", func(lease *nats.Msg) *nats.Msg {
		lease.Data, lease.Header = []byte("{"), nats.Header{}
		return lease
	})
	corpse(t, js, "of-the-life-before", func(lease *nats.Msg) *nats.Msg {
		lease.Header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		lease.Data = []byte(strings.Replace(string(lease.Data), `"incarnation":1`, `"incarnation":`, 1))
		return lease
	})
	all := []string{"never-had-one", "taken-away", "written-over", "aimed-elsewhere", "due-in-an-hour", "garbage", "of-the-life-before"}
	for _, node := range all {
		eventually(t, node+" to be listed", func() bool { return a.Snapshot().Node(node) != nil })
	}
	began := time.Now()
	j := bus(srv, "j")
	for _, of := range []*rolebus.Bus{a, o, j} {
		for _, node := range all {
			eventually(t, of.Name()+" to drop "+node, func() bool { return of.Snapshot().Node(node) == nil })
		}
		require.NotNil(t, of.Snapshot().Node(b.Name()), "who answers is not dropped for its lease")
		t.Logf("%s has dropped them %v after all were written", of.Name(), time.Since(began).Round(time.Millisecond))
	}
	require.NotContains(t, strings.Join(living.lines("b"), " "), "NodeLeft")
}

// After an outage in which many died the survivors ask the stream's leader about all of them at once.
func TestTheLeaderIsAskedOnceForAllWhoDied(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	const dead, living = 50, 3
	var fleet []*rolebus.Bus
	for i := range living {
		fleet = append(fleet, bus(c, fmt.Sprint("living-", i)))
	}
	conn := c.Conn()
	js := jetStream(t, conn)
	var mu sync.Mutex
	ofAll, ofOne := 0, 0
	_, err := conn.Subscribe("$JS.API.STREAM.>", func(msg *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(string(msg.Data), "subjects_filter") {
			ofAll++
		}
		if strings.Contains(string(msg.Data), "dead-") {
			ofOne++
		}
	})
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	for i := range dead {
		corpse(t, js, fmt.Sprint("dead-", i), nil)
	}
	for _, b := range fleet {
		eventually(t, "all to be listed", func() bool { return b.Snapshot().Members().Len() == dead+living })
	}
	// Their leases were due long ago, and are ended only now: so it is after an outage.
	for i := range dead {
		node := fmt.Sprint("dead-", i)
		corpse(t, js, node, func(lease *nats.Msg) *nats.Msg {
			due := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
			lease.Header.Set("Nats-Schedule", "@at "+due.Format(time.RFC3339Nano))
			lease.Data = dueAt.ReplaceAll(lease.Data, fmt.Appendf(nil, `"due":%d`, due.UnixMilli()))
			lease.Header.Set("Rolebus", dueAt.ReplaceAllString(lease.Header.Get("Rolebus"), fmt.Sprintf(`"due":%d`, due.UnixMilli())))
			return lease
		})
	}
	for _, b := range fleet {
		eventually(t, "the dead to be dropped", func() bool { return b.Snapshot().Members().Len() == living })
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%d questions about all, %d about one", ofAll, ofOne)
	require.Zero(t, ofOne)
	require.NotZero(t, ofAll)
}

var dueAt = regexp.MustCompile(`"due":\d+`)

// With the rights of docs/PROTOCOL.md and no more leases are looked at; without any of those whole readings go on as before.
func TestLeasesAreLookedAtWithTheRightsThatThereAre(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		denied []string
		gone   bool
	}{
		"least":           {[]string{"$JS.API.DIRECT.GET.KV_rolebus.$KV.rolebus=lease.>"}, true},
		"no leader's get": {[]string{"$JS.API.STREAM.MSG.GET.>"}, true},
		"no pages":        {[]string{"$JS.API.DIRECT.GET.KV_rolebus"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t, func(o *server.Options) {
				deny := &server.Permissions{Publish: &server.SubjectPermission{Deny: tc.denied}}
				o.Users = []*server.User{{Username: "all", Password: "all"}, {Username: "few", Password: "few", Permissions: deny}}
			})
			conn := srv.Conn(nats.UserInfo("all", "all"))
			a, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithNode("a"), rolebus.WithTTL(ttl), rolebus.WithSyncInterval(time.Second),
				rolebus.WithNATS(nats.UserInfo("few", "few")))
			require.NoError(t, err)
			defer func() { require.NoError(t, a.Close()) }()
			corpse(t, jetStream(t, conn), "c", func(*nats.Msg) *nats.Msg { return nil })
			eventually(t, "c to be listed", func() bool { return a.Snapshot().Node("c") != nil })
			if tc.gone {
				eventually(t, "c to be dropped", func() bool { return a.Snapshot().Node("c") == nil })
			}
			require.NoError(t, a.Check())
		})
	}
}
