package nats_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
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

func TestOptionsComplainAllAtOnceBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	_, err := rolebus.Connect(t.Context(), "http://127.0.0.1:1",
		rolebus.WithNode(""), rolebus.WithTTL(time.Millisecond), rolebus.WithSyncInterval(0), rolebus.WithRoles("ok", ""),
		rolebus.WithRequestTimeout(-1), rolebus.WithScopes(strings.Repeat("s", 201)), rolebus.WithBucket("a.b"), nil)
	require.ErrorIs(t, err, rolebus.ErrBadName)
	for _, complaint := range []string{"scheme", "node", "TTL", "sync interval", "role is empty", "request timeout", "scope", "bucket", "option 8"} {
		require.ErrorContains(t, err, complaint)
	}
	_, err = rolebus.New(t.Context(), nil, rolebus.WithNATS(nats.Name("x")))
	require.ErrorContains(t, err, "nil")
	require.ErrorContains(t, err, "NATS options")
}

func TestConnectWaitsForAServer(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	url := srv.URL()
	srv.Stop()
	over, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := rolebus.Connect(over, url)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, nats.ErrNoServers, "the cause beside it")

	type result struct {
		b   *rolebus.Bus
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := rolebus.Connect(context.Background(), url, rolebus.WithRoles("x"))
		done <- result{b, err}
	}()
	srv.Start()
	r := <-done
	require.NoError(t, r.err)
	require.Len(t, r.b.Nodes("x").Slice(), 1)
	require.NoError(t, r.b.Close())

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = rolebus.Connect(ended, url)
	require.ErrorIs(t, err, context.Canceled)
	_, err = rolebus.New(ended, srv.Conn())
	require.ErrorIs(t, err, context.Canceled)
}

func TestJetStreamOff(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.JetStream = false })
	_, err := rolebus.Connect(t.Context(), srv.URL())
	require.ErrorIs(t, err, jetstream.ErrJetStreamNotEnabled)
	require.ErrorContains(t, err, "start nats-server with -js")
}

// olderServer is a way to a server that says that it is of an older version.
func olderServer(t *testing.T, url, version string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	real, told := []byte(`"version":"`+server.VERSION+`"`), []byte(`"version":"`+version+`"`)
	pass := func(client, up net.Conn) {
		wg.Go(func() {
			_, _ = io.Copy(up, client)
			_ = up.Close()
		})
		wg.Go(func() {
			defer func() { _ = client.Close() }()
			// Every line: the server tells its version again after the client has introduced itself.
			for from := bufio.NewReader(up); ; {
				line, err := from.ReadBytes('\n')
				if err != nil {
					return
				}
				if _, err := client.Write(bytes.ReplaceAll(line, real, told)); err != nil {
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = client.Close() })
			up, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
			if err != nil {
				t.Error(err)
				return
			}
			pass(client, up)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		t.Cleanup(wg.Wait)
	})
	return "nats://" + l.Addr().String()
}

func TestServerTooOld(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	_, err := rolebus.Connect(t.Context(), olderServer(t, srv.URL(), "2.11.9"))
	require.ErrorIs(t, err, rolebus.ErrServerTooOld)
	require.ErrorContains(t, err, "2.12.0")
	require.ErrorContains(t, err, "2.11.9")
	b, err := rolebus.Connect(t.Context(), olderServer(t, srv.URL(), "2.12.0"))
	require.NoError(t, err)
	require.NoError(t, b.Close())
}

// edit changes the settings of a bucket of ours, as "nats stream edit" does.
func edit(t *testing.T, js jetstream.JetStream, alter func(*jetstream.StreamConfig)) {
	t.Helper()
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	alter(&cfg)
	_, err = js.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
}

func settings(t *testing.T, js jetstream.JetStream) jetstream.StreamConfig {
	t.Helper()
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	return stream.CachedInfo().Config
}

func TestBucketWithOtherSettingsIsMended(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	js := jetStream(t, srv.Conn())
	require.NoError(t, srv.Bus().Close())
	edit(t, js, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject, c.MaxAge, c.MaxBytes = 5, time.Hour, 1<<20 })
	a := bus(srv, "a", rolebus.WithRoles("x"))
	o := bus(srv, "o", rolebus.WithObserver())
	require.Equal(t, []string{"a"}, names(o.Nodes("x").Slice()))
	require.NoError(t, a.AddRoles(t.Context(), "y"))
	rolebustest.WaitRoles(t, o, "a", "x", "y")
	cfg := settings(t, js)
	require.EqualValues(t, 1, cfg.MaxMsgsPerSubject)
	require.Zero(t, cfg.MaxAge)
	require.EqualValues(t, 1<<20, cfg.MaxBytes, "what we do not depend on stays")
}

func TestBucketMismatch(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	require.NoError(t, srv.Bus(rolebus.WithStorage(jetstream.MemoryStorage)).Close())
	edit(t, js, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 3 })
	before := streamAsItIs(t, nc, "KV_rolebus")
	_, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithStorage(jetstream.FileStorage))
	require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
	require.ErrorContains(t, err, "storage is Memory, must be File")
	require.ErrorContains(t, err, "max msgs per subject is 3, must be 1")
	require.ErrorContains(t, err, "nats stream rm KV_rolebus -f")
	_, err = rolebus.Connect(t.Context(), srv.URL(), rolebus.WithReplicas(3))
	require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
	require.ErrorContains(t, err, "replicas is 1, must be 3")
	require.ErrorContains(t, err, `"num_replicas":3`)
	require.Equal(t, before, streamAsItIs(t, nc, "KV_rolebus"), "nothing is mended if not all is")
}

// withUser lets the user "app" have these permissions; "admin" may do everything.
func withUser(p *server.Permissions) func(*server.Options) {
	return func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "app", Password: "secret", Permissions: p},
			{Username: "admin", Password: "secret"},
		}
	}
}

func TestNoPermission(t *testing.T) {
	t.Parallel()
	for refused, p := range map[string]*server.Permissions{
		"$JS.API.STREAM.INFO.KV_rolebus":                      {Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.INFO.>"}}},
		"$JS.API.STREAM.CREATE.KV_rolebus":                    {Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>"}}},
		"$KV.rolebus=lease.default.a":                         {Publish: &server.SubjectPermission{Deny: []string{"$KV.rolebus=lease.>"}}},
		"$KV.rolebus.default.a":                               {Publish: &server.SubjectPermission{Deny: []string{"$KV.rolebus.>"}}},
		"rolebus.changes.default.*":                           {Subscribe: &server.SubjectPermission{Deny: []string{"rolebus.changes.>"}}},
		"$JS.API.DIRECT.GET.KV_rolebus.$KV.rolebus.default.*": {Publish: &server.SubjectPermission{Deny: []string{"$JS.API.DIRECT.>"}}},
	} {
		for _, domain := range []string{"", "hub"} { // whose server names in its refusals the subjects that it makes of what is asked
			t.Run(refused+" "+domain, func(t *testing.T) {
				t.Parallel()
				srv := rolebustest.NewServer(t, withUser(p), func(o *server.Options) { o.JetStreamDomain = domain })
				opts := []rolebus.Option{rolebus.WithNode("a"), rolebus.WithRequestTimeout(time.Second), rolebus.WithNATS(nats.UserInfo("app", "secret"))}
				if domain != "" {
					opts = append(opts, rolebus.WithDomain(domain))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				_, err := rolebus.Connect(ctx, srv.URL(), opts...)
				require.ErrorIs(t, err, nats.ErrPermissionViolation)
				require.ErrorContains(t, err, refused)
			})
		}
	}
	srv := rolebustest.NewServer(t, withUser(nil))
	_, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithNATS(nats.UserInfo("app", "wrong")))
	require.ErrorIs(t, err, nats.ErrAuthorization)
}

func TestNoPermissionToReadMany(t *testing.T) {
	t.Parallel()
	const subject = "$JS.API.DIRECT.GET.KV_rolebus"
	srv := rolebustest.NewServer(t, withUser(&server.Permissions{Publish: &server.SubjectPermission{Deny: []string{subject}}}))
	bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithNATS(nats.UserInfo("admin", "secret")))
	_, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithObserver(), rolebus.WithRequestTimeout(time.Second),
		rolebus.WithNATS(nats.UserInfo("app", "secret")))
	require.ErrorIs(t, err, nats.ErrPermissionViolation)
	require.ErrorContains(t, err, `"`+subject+`"`)
}

func TestObserverNeedsNoPermissionToWrite(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, withUser(&server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$JS.API.STREAM.INFO.KV_rolebus", "$JS.API.DIRECT.GET.KV_rolebus", "$JS.API.STREAM.MSG.GET.KV_rolebus",
			"$JS.API.DIRECT.GET.KV_rolebus.$KV.rolebus.default.*",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "rolebus.changes.default.*"}},
	}))
	admin := nats.UserInfo("admin", "secret")
	a := bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithNATS(admin))
	o := bus(srv, "o", rolebus.WithObserver(), rolebus.WithNATS(nats.UserInfo("app", "secret")))
	require.Equal(t, []string{"a"}, names(o.Nodes("x").Slice()))
	require.NoError(t, a.AddRoles(t.Context(), "y"))
	rolebustest.WaitRoles(t, o, "a", "x", "y")
	_, err := o.Join(t.Context(), "other")
	require.ErrorIs(t, err, nats.ErrPermissionViolation)
	require.ErrorContains(t, err, "rolebus.changes.other.*")
	require.Equal(t, []string{"default"}, o.Scopes())
}

// Very many records are read by a consumer, if that is allowed.
func TestVeryManyRecordsWithoutPermissionForAConsumer(t *testing.T) {
	t.Parallel()
	for _, denied := range []string{"$JS.API.CONSUMER.>", "$JS.API.CONSUMER.MSG.NEXT.>", "$JS.API.CONSUMER.DELETE.>"} {
		t.Run(denied, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t, withUser(&server.Permissions{Publish: &server.SubjectPermission{Deny: []string{denied}}}))
			admin := nats.UserInfo("admin", "secret")
			bus(srv, "a", rolebus.WithNATS(admin))
			nc, err := nats.Connect(srv.URL(), admin)
			require.NoError(t, err)
			defer nc.Close()
			js := jetStream(t, nc)
			const count = 1000
			for i := range count {
				_, err := js.PublishAsync(fmt.Sprintf("$KV.rolebus.default.n%d", i), fmt.Appendf(nil,
					`{"format":1,"scope":"default","node":"n%d","incarnation":1,"version":1,"ttl":2000,"roles":["x"]}`, i))
				require.NoError(t, err)
			}
			<-js.PublishAsyncComplete()
			o := bus(srv, "o", rolebus.WithObserver(), rolebus.WithRequestTimeout(time.Second), rolebus.WithNATS(nats.UserInfo("app", "secret")))
			require.Len(t, o.Nodes("x").Slice(), count)
		})
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	a, b := bus(srv, "a"), bus(srv, "b")
	var many []rolebus.Role
	for i := range 1000 {
		many = append(many, rolebus.Role(fmt.Sprintf("%04d-%s", i, strings.Repeat("r", 60))))
	}
	generation := a.Generation()
	err := a.AddRoles(t.Context(), many...)
	require.ErrorIs(t, err, rolebus.ErrTooLarge)
	require.ErrorContains(t, err, "65536")
	require.Empty(t, a.MyRoles().Slice())
	require.Equal(t, generation, a.Generation())
	_, err = rolebus.Connect(t.Context(), srv.URL(), rolebus.WithRoles(many...))
	require.ErrorIs(t, err, rolebus.ErrTooLarge)

	// Too large for an announcement's headers, not for a record: it is fetched.
	require.NoError(t, a.AddRoles(t.Context(), many[:600]...))
	eventually(t, "600 roles", func() bool { return b.Roles("a").Len() == 600 })
	require.NoError(t, a.RemoveRoles(t.Context(), many[1:600]...))
	rolebustest.WaitRoles(t, b, "a", many[0])
}

// logged keeps and counts the log lines of a bus.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

func TestBadMessagesChangeNoSnapshot(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	log := &logged{}
	a := bus(srv, "a", rolebus.WithRoles("x"))
	o := bus(srv, "o", rolebus.WithObserver(), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	seen := watch(t, o.Scope)
	nc := srv.Conn()
	js := jetStream(t, nc)

	good := nats.Header{}
	sub, err := nc.SubscribeSync("rolebus.changes.default.a")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	require.NoError(t, a.AddRoles(t.Context(), "y"))
	msg, err := sub.NextMsg(10 * time.Second)
	require.NoError(t, err)
	for name := range msg.Header {
		good.Set(name, msg.Header.Get(name))
	}
	var heard struct {
		Fleet       string
		Incarnation uint64
	}
	require.NoError(t, json.Unmarshal([]byte(good.Get("Rolebus")), &heard))
	forged := fmt.Sprintf(`{"format":1,"fleet":%q,"incarnation":%d,"version":900,"ttl":2000,"roles":["forged"]}`, heard.Fleet, heard.Incarnation)
	with := func(change ...string) nats.Header {
		hdr := nats.Header{}
		for name := range good {
			hdr.Set(name, good.Get(name))
		}
		hdr.Set("Rolebus", forged)
		for i := 0; i < len(change); i += 2 {
			hdr.Del(change[i])
			if change[i+1] != "" {
				hdr.Set(change[i], change[i+1])
			}
		}
		return hdr
	}
	// says changes our header, in which the old text stands once.
	says := func(old, now string) nats.Header {
		require.Equal(t, 1, strings.Count(forged, old), old)
		return with("Rolebus", strings.Replace(forged, old, now, 1))
	}
	rolebustest.WaitRoles(t, o, "a", "x", "y")
	before := o.Snapshot()
	bad := map[string]nats.Header{
		"nothing":         nil,
		"no stream":       with("Nats-Stream", ""),
		"another stream":  with("Nats-Stream", "KV_other"),
		"another subject": with("Nats-Subject", "$KV.rolebus.default.b"),
		"no sequence":     with("Nats-Sequence", ""),
		"future":          says(`"format":1`, `"format":2`),
		"not ours":        with("Rolebus", ""),
		"no version":      says(`"version":900,`, ""),
		"huge version":    says("900", fmt.Sprint(uint64(math.MaxUint64))),
		"no incarnation":  says(fmt.Sprint(heard.Incarnation), "-1"),
		"truncated":       says(`"]}`, ""),
		"empty role":      says(`"forged"`, `"forged",""`),
		"no TTL":          says(`"ttl":2000,`, ""),
		"unknown reason":  says(`"ttl":2000,"roles":["forged"]`, `"gone":"coup"`),
		"a schedule":      with("Nats-Scheduler", "$KV.rolebus=lease.default.a"),
		"another's lease": with("Nats-Scheduler", "$KV.rolebus=lease.default.b", "Rolebus", strings.Replace(forged, `"ttl":2000,"roles":["forged"]`, `"gone":"expired","due":1`, 1)),
	}
	for _, hdr := range bad {
		for range 3 {
			require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: "rolebus.changes.default.a", Header: hdr, Data: []byte("\xff\x00{")}))
		}
	}
	for _, subject := range []string{"rolebus.changes.default.=4", "rolebus.changes.default.a=61", "rolebus.changes.default.=FF"} {
		require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: subject, Header: with()}))
	}
	// A last, good message tells when all those before it have been heard.
	require.NoError(t, nc.Flush())
	mark := bus(srv, "mark", rolebus.WithRoles("mark"))
	eventually(t, "the mark", func() bool { return o.Nodes("mark").Len() == 1 })
	require.Equal(t, before.Roles("a").Slice(), o.Roles("a").Slice())
	require.Empty(t, o.Nodes("forged").Slice())
	require.Equal(t, []string{"NodeJoined", "RoleAdded x", "RoleAdded y"}, seen.lines("a"))
	require.Equal(t, 1, log.count("subject=rolebus.changes.default.a "), "logged once per sender: %v", log.lines)

	// The same in the bucket itself, which every bus reads at its next sync; and a schedule aimed at another's record.
	for i, body := range []string{"", "{", "null", "[]", `{"format":2,"scope":"default","node":"bad-5","incarnation":1,"version":1,"ttl":2000,"roles":["forged"]}`,
		`{"format":1,"scope":"default","node":"a","incarnation":1,"version":1,"ttl":2000,"roles":["forged"]}`,
		`{"format":1,"scope":"default","node":"bad-7","incarnation":0,"version":1,"ttl":2000,"roles":["forged"]}`,
		`{"format":1,"scope":"default","node":"bad-8","incarnation":1,"version":1,"ttl":2000,"roles":[""]}`,
		`{"format":1,"scope":"default","node":"bad-9","incarnation":1,"version":1,"ttl":2000,"roles":"forged"}`} {
		_, err := js.Publish(t.Context(), fmt.Sprintf("$KV.rolebus.default.bad-%d", i+1), []byte(body))
		require.NoError(t, err)
	}
	aim := nats.NewMsg("$KV.rolebus=lease.default.mallory")
	aim.Data = []byte(`{"format":1,"scope":"default","node":"mark","incarnation":9007199254740000,"version":9,"gone":"expired","due":1}`)
	for name, value := range map[string]string{
		"Nats-Schedule": "@at " + time.Now().UTC().Format(time.RFC3339Nano), "Nats-Schedule-Target": "$KV.rolebus.default.mark",
		"KV-Operation": "DEL",
		"Rolebus":      fmt.Sprintf(`{"format":1,"fleet":%q,"incarnation":9007199254740000,"version":9,"gone":"expired","due":1}`, heard.Fleet),
	} {
		aim.Header.Set(name, value)
	}
	_, err = js.PublishMsg(t.Context(), aim)
	require.NoError(t, err)
	kv, err := js.KeyValue(t.Context(), "rolebus")
	require.NoError(t, err)
	generation := mark.Generation()
	eventually(t, "the schedule to fire and be undone", func() bool { return mark.Generation() > generation })
	entry, err := kv.Get(t.Context(), "default.mark")
	require.NoError(t, err)
	require.Contains(t, string(entry.Value()), `"roles":["mark"]`)
	late := bus(srv, "late", rolebus.WithObserver())
	require.Empty(t, late.Nodes("forged").Slice())
	require.Equal(t, []string{"a", "mark"}, names(late.AllNodes().Slice()))
	require.Empty(t, o.Nodes("forged").Slice())
	require.Zero(t, seen.count(rolebus.NodeLeft))
	require.NoError(t, mark.Err())
	require.NoError(t, a.Err())
}
