package rolebus

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

func TestDefaults(t *testing.T) {
	o, err := newOptions(nil)
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Regexp(t, "^"+regexp.QuoteMeta(host)+"-[a-z2-7]{8}$", o.node)
	require.False(t, o.named)
	require.Equal(t, "default", o.defaultScope)
	require.Equal(t, []string{"default"}, o.scopes)
	require.Equal(t, "rolebus", o.bucket)
	require.Equal(t, 15*time.Second, o.ttl)
	require.Equal(t, 20*time.Second, graceOf(o.ttl), "the lease and one heartbeat")
	require.Equal(t, 7*time.Second, o.sync)
	require.Equal(t, 5*time.Second, o.timeout)
	require.Equal(t, settings{storage: jetstream.FileStorage}, o.settings)
	require.False(t, o.log.Enabled(t.Context(), slog.LevelError), "nothing is logged")
	require.False(t, o.observer)
	require.Nil(t, o.handler)
	require.Empty(t, o.roles)
	require.Empty(t, o.meta)
	require.Empty(t, o.nats)
}

func TestTheDefaultNameIsLegalAndItsOwn(t *testing.T) {
	for host, want := range map[string]string{
		"web-7f9c":               "web-7f9c",
		"":                       "node",
		"\xff\xfe":               "_",
		"a\xffb":                 "a_b",
		strings.Repeat("h", 300): strings.Repeat("h", 191),
		strings.Repeat(".", 300): strings.Repeat(".", 63),
		strings.Repeat("ß", 300): strings.Repeat("ß", 31), // six bytes each, and none is cut
	} {
		name := defaultNode(host)
		require.NoError(t, checkName("node", name), host)
		require.Equal(t, want, name[:len(name)-len("-12345678")], host)
		require.NotEqual(t, name, defaultNode(host), "not the same twice")
	}
}

func TestOptionsAreTaken(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	plain, err := newOptions([]Option{WithReplicas(1), WithStorage(jetstream.FileStorage), WithLogger(log)})
	require.NoError(t, err)
	require.Same(t, log, plain.log)
	require.Equal(t, settings{replicas: 1, storage: jetstream.FileStorage, storageSet: true}, plain.settings)

	meta := map[string]string{"zone": "eu"}
	joined := 0
	o, err := newOptions([]Option{
		WithNode("api-1.prod@eu"), WithMeta(meta), WithRoles("a"), WithRoles("b", "a"),
		WithScopes("x", "y"), WithScopes("main", "x"), WithDefaultScope("main"), WithBucket("fleet"),
		WithTTL(time.Second), WithSyncInterval(50 * time.Millisecond), WithRequestTimeout(time.Minute),
		WithReplicas(5), WithStorage(jetstream.MemoryStorage),
		WithHandler(Handler{}), WithHandler(Handler{OnNodeJoined: func(Event) { joined++ }}),
		WithLogger(nil),
		WithNATS(nats.Name("a")), WithNATS(nats.Name("b"), nats.Name("c")),
	})
	require.NoError(t, err)
	meta["zone"] = "us"
	require.Equal(t, "api-1.prod@eu", o.node)
	require.Equal(t, map[string]string{"zone": "eu"}, o.meta, "the caller's map is the caller's")
	require.Equal(t, []Role{"a", "b", "a"}, o.roles)
	require.Equal(t, []string{"main", "x", "y"}, o.scopes, "the default scope first, each once")
	require.Equal(t, "fleet", o.bucket)
	require.Equal(t, []time.Duration{time.Second, 50 * time.Millisecond, time.Minute}, []time.Duration{o.ttl, o.sync, o.timeout})
	require.Equal(t, settings{replicas: 5, storage: jetstream.MemoryStorage, storageSet: true}, o.settings)
	o.handler.handle(Event{Kind: NodeJoined})
	require.Equal(t, 1, joined, "the last handler counts")
	require.NotNil(t, o.log)
	require.Len(t, o.nats, 3)
}

// Each of these is wrong in one way, and says so; together they say all of it.
var badOptions = []struct {
	name    string
	opt     Option
	says    string
	badName bool
}{
	{"nil", nil, "option 1 is nil", false},
	{"empty node", WithNode(""), "node is empty", true},
	{"long node", WithNode(strings.Repeat(".", 67)), "takes 201 bytes, at most 200", true},
	{"node not UTF-8", WithNode("n\xff"), `node "n\xff" is not UTF-8`, true},
	{"empty default scope", WithDefaultScope(""), "scope is empty", true},
	{"scope not UTF-8", WithScopes("fine", "s\xff"), `scope "s\xff" is not UTF-8`, true},
	{"empty bucket", WithBucket(""), "bucket is empty", true},
	{"bucket with a dot", WithBucket("a.b"), `bucket "a.b": only letters`, true},
	{"no domain", WithDomain(""), `domain "": one token`, false},
	{"a domain of two tokens", WithDomain("a.b"), `domain "a.b": one token`, false},
	{"a domain with a wildcard", WithDomain("*"), `domain "*": one token`, false},
	{"no prefix", WithAPIPrefix(""), `API prefix "": tokens`, false},
	{"a prefix with an empty token", WithAPIPrefix("a..b"), `API prefix "a..b": tokens`, false},
	{"a prefix with a wildcard", WithAPIPrefix("a.>"), `API prefix "a.>": tokens`, false},
	{"a prefix with a space", WithAPIPrefix("a b"), `API prefix "a b": tokens`, false},
	{"a domain and a prefix", func(o *options) { WithDomain("hub")(o); WithAPIPrefix("JS.hub")(o) }, "domain and API prefix: only one", false},
	{"short TTL", WithTTL(time.Second - 1), "TTL 999.999999ms: at least 1s", false},
	{"sync 0", WithSyncInterval(0), "sync interval 0s: at least 50ms", false},
	{"sync without a unit", WithSyncInterval(7), "sync interval 7ns: at least 50ms", false},
	{"timeout below 0", WithRequestTimeout(-1), "request timeout -1ns: at least 50ms", false},
	{"timeout without a unit", WithRequestTimeout(7), "request timeout 7ns: at least 50ms", false},
	{"no replicas", WithReplicas(0), "replicas 0: must be 1 to 5", false},
	{"six replicas", WithReplicas(6), "replicas 6: must be 1 to 5", false},
	{"unknown storage", WithStorage(7), "must be file or memory", false},
	{"empty role", WithRoles("fine", ""), "role is empty", true},
	{"long role", WithRoles(Role(strings.Repeat("r", 4097))), "takes 4097 bytes, at most 4096", true},
	{"role not UTF-8", WithRoles("r\xff"), `role "r\xff" is not UTF-8`, true},
	{"empty key", WithMeta(map[string]string{"": "v"}), "a key is empty", false},
	{"key not UTF-8", WithMeta(map[string]string{"k\xff": "v"}), `metadata "k\xff": not UTF-8`, false},
	{"value not UTF-8", WithMeta(map[string]string{"k": "v\xff"}), `metadata "k": not UTF-8`, false},
	{"nil hook", WithHooks(onSync(nil), nil), "hook 2 is nil", false},
	{"a hook of nothing", WithHooks(42), "hook 1, a int, has the method of no event", false},
	{"a hook with another signature", WithHooks(wrongHook{}), "hook 1, a rolebus.wrongHook, has the method of no event", false},
	{"a hook with another receiver", WithHooks(syncHook{}), "hook 1, a rolebus.syncHook, has the method of no event", false},
	{"a hook that only misses", WithHooks(missedHook{}), "hook 1, a rolebus.missedHook, has the method of no event", false},
	{"an observer with a role", func(o *options) { WithObserver()(o); WithRoles("r")(o) }, "an observer has none", false},
}

type wrongHook struct{}

func (wrongHook) OnSync(*SyncInfo) {}

type missedHook struct{}

func (missedHook) OnMissed(MissedInfo) {}

type secondHook struct{ syncHook }

func TestHooksAddUp(t *testing.T) {
	a, b, c := onSync(nil), &secondHook{}, &syncHook{}
	o, err := newOptions([]Option{WithHooks(a), WithHooks(), WithHooks(b, c)})
	require.NoError(t, err)
	require.Len(t, o.hooks.queues, 3)
	require.Equal(t, "*rolebus.secondHook", o.hooks.queues[1].Name())
	require.Len(t, o.hooks.sync, 3)
	require.Empty(t, o.hooks.read)
	o, err = newOptions([]Option{WithHooks()})
	require.NoError(t, err)
	require.Nil(t, o.hooks)
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, tc := range badOptions {
		t.Run(tc.name, func(t *testing.T) {
			_, err := newOptions([]Option{tc.opt})
			require.ErrorContains(t, err, tc.says)
			require.NotContains(t, err.Error(), "\n", "one fault, one complaint")
			if tc.badName {
				require.ErrorIs(t, err, ErrBadName)
			} else {
				require.NotErrorIs(t, err, ErrBadName)
			}
		})
	}
}

func TestBadOptionsComplainTogetherBeforeAnythingStarts(t *testing.T) {
	bad := []Option{
		nil, WithNode(""), WithScopes("s\xff"), WithBucket("a.b"), WithTTL(0), WithSyncInterval(0), WithRequestTimeout(0),
		WithReplicas(9), WithStorage(7), WithRoles(""), WithMeta(map[string]string{"": ""}), WithObserver(), WithNATS(nats.Name("a")),
		WithDomain("a.b"), WithAPIPrefix("a b"),
	}
	says := []string{
		"option 1 is nil", "node is empty", "scope", "bucket", "TTL 0s", "sync interval 0s", "request timeout 0s",
		"replicas 9", "storage", "role is empty", "a key is empty", "roles []: an observer has none", "metadata: an observer has none",
		"domain \"a.b\"", "API prefix \"a b\"", "only one of them",
	}

	_, err := Connect(t.Context(), "http://127.0.0.1:1,,nats://", bad...)
	require.ErrorIs(t, err, ErrBadName)
	for _, want := range append([]string{"unknown scheme", "empty", "no host"}, says...) {
		require.ErrorContains(t, err, want)
	}
	require.Len(t, strings.Split(err.Error(), "\n"), 3+len(says), "and nothing else: %v", err)

	_, err = New(t.Context(), nil, bad...)
	require.ErrorIs(t, err, ErrBadName)
	for _, want := range append([]string{"the connection is nil", "the connection is made already"}, says...) {
		require.ErrorContains(t, err, want)
	}
	require.Len(t, strings.Split(err.Error(), "\n"), 2+len(says), "and nothing else: %v", err)
}

func TestURLs(t *testing.T) {
	for _, urls := range []string{
		"nats://127.0.0.1:4222", "tls://nats.example.com", "ws://h:80", "wss://h", "NATS://h", "localhost", "localhost:4222", "[::1]:4222",
		"nats://a:4222,nats://b:4222", " a , b ", "tls://a,nats://b,c", "ws://a,wss://b", "nats://me:secret@h:4222", "me:secret@h", "nats://token@h",
	} {
		require.NoError(t, checkURLs(urls), urls)
	}
	for _, tc := range []struct{ urls, says string }{
		{"", "empty"},
		{" ", "empty"},
		{"a,", "empty"},
		{",a", "empty"},
		{"http://h", `unknown scheme "http"`},
		{"a,ftp://h,b", `unknown scheme "ftp"`},
		{"nats://", "no host"},
		{"nats:///path", "no host"},
		{"nats://h:port", "invalid port"},
		{"nats://[::1", "missing ']'"},
		{"://h", "missing protocol scheme"},
		{"nats://a,ws://b", "do not go with"},
		{"wss://a,ws://b,c", "do not go with"},
		{"nats://h\x00", "invalid control character"},
	} {
		err := checkURLs(tc.urls)
		require.ErrorContains(t, err, tc.says, tc.urls)
		require.NotContains(t, err.Error(), "\n", tc.urls)
	}
	err := checkURLs("http://a,,nats://")
	for _, says := range []string{"unknown scheme", "empty", "no host"} {
		require.ErrorContains(t, err, says)
	}
}

func TestErrorsHideCredentials(t *testing.T) {
	for _, urls := range []string{
		"http://me:s3cret@h",
		"nats://me:s3cret@",
		"nats://me:s3cret@h:port",
		"nats://me:s3cret@[::1",
		"nats://me:s3cret@h\x00",
		"nats://me:s3cret@h,http://h",
		"nats://me:s3cret@h,,nats://b", // an empty one beside it
		"nats://me:s3cret/more@h",      // a slash that should be %2F ends the host
		"nats://me:s3cret?more@h",
		"nats://me:s3cret#more@h",
		"nats://me:%s3cret@h", // a percent sign that should be %25
		"nats://me:s3cret%zz@h",
		"nats://me:s3cret @h",
		"nats://me:s3cret[@h",
		"nats://me:s3,cret@h", // a comma that should be %2C parts the list
		"http://s3cret@h",     // a token
		"nats://s3cret@",
	} {
		t.Run(urls, func(t *testing.T) {
			err := checkURLs(urls)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "s3")
		})
	}
}

func TestHostsOfURLs(t *testing.T) {
	for urls, want := range map[string]string{
		"localhost":           "localhost",
		" a , nats://b:4222 ": "a, b:4222",
		"nats://me:s3cret@a:1,tls://s3cret@b,ws://c/": "a:1, b, c",
		"s3cret@a":                      "a",
		"[::1]:4222":                    "[::1]:4222",
		"nats://me:33,44@h":             "h",
		"nats://me:33,44,55@h,nats://b": "h, b",
		"nats://a,nats://me:33,44@h":    "a, h",
		"me:33,44@h":                    "h",
		"nats://me:33/44@h":             "",
		"nats://me:33?44@h":             "",
		"nats://me:33#44@h":             "",
		"nats://me:s3cret@h:port,b":     "b",
	} {
		require.Equal(t, want, hostsOf(urls), urls)
	}
}

func TestWhoDoesNotAnswerIsNamed(t *testing.T) {
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Connect(ctx, "nats://me:s3cret@127.0.0.1:1,nats://t0ken@127.0.0.1:2", WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, nats.ErrNoServers)
	for _, text := range []string{err.Error(), log.String()} {
		for _, host := range []string{"127.0.0.1:1: connection refused", "127.0.0.1:2: connection refused"} {
			require.Contains(t, text, host)
		}
		require.NotContains(t, text, "s3cret")
		require.NotContains(t, text, "t0ken")
	}
}
