package nats_test

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

var commands = regexp.MustCompile(`(?s)nats req '([^']+)' '((?:[^']|'\\'')+)'|nats stream rm (\S+) -f`)

// follow does what the command in a text says, as the nats command line does.
func follow(t *testing.T, nc *nats.Conn, text string) {
	t.Helper()
	found := commands.FindStringSubmatch(text)
	require.NotNil(t, found, text)
	subject, body := found[1], strings.ReplaceAll(found[2], `'\''`, "'")
	if found[3] != "" {
		subject, body = "$JS.API.STREAM.DELETE."+found[3], ""
	}
	msg, err := nc.Request(subject, []byte(body), 10*time.Second)
	require.NoError(t, err)
	require.NotContains(t, string(msg.Data), `"error"`)
}

// The command that an error names mends the bucket, and nothing else of it changes.
func TestTheCommandInTheErrorMends(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	like := asMade(t, srv, "rolebus")
	for name, alter := range map[string]func(*streamConfig){
		"history":   func(c *streamConfig) { c.MaxMsgsPerSubject = 5 },
		"a limit":   func(c *streamConfig) { c.MaxMsgs = 3 },
		"no leases": func(c *streamConfig) { c.Subjects = c.Subjects[:1] },
		"no marker": func(c *streamConfig) { c.Metadata = map[string]string{"it's {{mine}}": "{{'}}"} },
		"small":     func(c *streamConfig) { c.MaxBytes = 4096 },
		"more of it": func(c *streamConfig) {
			c.MaxAge, c.MaxMsgSize, c.AllowDirect, c.RePublish, c.Duplicates = time.Hour, 99, false, nil, 0
		},
		"work queue":  func(c *streamConfig) { c.Retention, c.AllowDirect = jetstream.WorkQueuePolicy, true },
		"interesting": func(c *streamConfig) { c.Retention = jetstream.InterestPolicy },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := like
			cfg.Description = "it's {{ours}}"
			alter(&cfg)
			makeStream(t, js, cfg)
			defer func() { require.NoError(t, js.DeleteStream(context.Background(), "KV_rolebus")) }()
			_, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithoutProvisioning())
			require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
			follow(t, nc, err.Error())
			if strings.Contains(err.Error(), "nats stream rm") {
				require.NoError(t, rolebus.Provision(t.Context(), nc))
			} else {
				require.Equal(t, cfg.Description, settings(t, js).Description)
				require.Equal(t, cfg.Metadata["it's {{mine}}"], settings(t, js).Metadata["it's {{mine}}"])
			}
			b, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithoutProvisioning(), rolebus.WithNode("a"))
			require.NoError(t, err)
			require.NoError(t, b.Close())
		})
	}
}

// Of a sealed bucket only its removal helps, and that is what the error says.
func TestASealedBucket(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	a := bus(srv, "a", rolebus.WithRoles("x"))
	edit(t, js, func(c *streamConfig) { c.Sealed = true })
	_, err := rolebus.Connect(t.Context(), srv.URL())
	require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
	require.ErrorContains(t, err, "sealed is true, must be false")
	require.ErrorContains(t, err, "only its removal")
	follow(t, nc, err.Error())
	b := bus(srv, "b")
	eventually(t, "a to write its record again", func() bool { return b.Nodes("x").Len() == 1 })
	require.NoError(t, a.Err())
}

// withoutRights denies making and changing streams to the user "app".
func withoutRights() *server.Permissions {
	return &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{
		"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.UPDATE.>", "$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>",
	}}}
}

// Who may not make a bucket waits for one, and says so; without being asked to make one it needs no right for it.
func TestWaitingForABucketOfSomebodyElse(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, withUser(withoutRights()))
	app, admin := nats.UserInfo("app", "secret"), nats.UserInfo("admin", "secret")
	adm, err := nats.Connect(srv.URL(), admin)
	require.NoError(t, err)
	defer adm.Close()
	js := jetStream(t, adm)
	for name, waits := range map[string][]rolebus.Option{
		"an observer": {rolebus.WithObserver()}, "a member": {rolebus.WithoutProvisioning()}, "of all scopes": {rolebus.WithObserver(), rolebus.WithAllScopes()},
	} {
		log := &logged{}
		opts := append(waits, rolebus.WithNATS(app), rolebus.WithNode("waiting"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
		over, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := rolebus.Connect(over, srv.URL(), opts...)
		cancel()
		require.ErrorIs(t, err, rolebus.ErrNoBucket, name)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.Positive(t, log.count("bucket does not exist"), name)
		_, err = js.Stream(t.Context(), "KV_rolebus")
		require.ErrorIs(t, err, jetstream.ErrStreamNotFound, name)

		told := log.count("bucket does not exist")
		came := make(chan *rolebus.Bus, 1)
		go func() {
			b, err := rolebus.Connect(context.Background(), srv.URL(), opts...)
			if err != nil {
				t.Error(err)
			}
			came <- b
		}()
		eventually(t, name+" to wait again", func() bool { return log.count("bucket does not exist") > told })
		require.NoError(t, rolebus.Provision(t.Context(), adm))
		b := <-came
		require.NotNil(t, b, name)
		require.NoError(t, b.Close())
		require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	}
	_, err = rolebus.Connect(t.Context(), srv.URL(), rolebus.WithNATS(app), rolebus.WithRequestTimeout(time.Second))
	require.ErrorIs(t, err, nats.ErrPermissionViolation, "who should make it fails at once")
	follow(t, adm, err.Error())
	b, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithNATS(app))
	require.NoError(t, err, "the command in the error makes it")
	require.NoError(t, b.Close())
}

// A bucket that is deleted while it runs is left to those who may make it.
func TestWithoutProvisioningTheBucketIsMadeAgainByOthers(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, withUser(withoutRights()))
	adm, err := nats.Connect(srv.URL(), nats.UserInfo("admin", "secret"))
	require.NoError(t, err)
	defer adm.Close()
	js := jetStream(t, adm)
	require.NoError(t, rolebus.Provision(t.Context(), adm))
	app := rolebus.WithNATS(nats.UserInfo("app", "secret"))
	a := bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithoutProvisioning(), app)
	o := bus(srv, "o", rolebus.WithObserver(), app)
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	eventually(t, "the lease to be lost", func() bool { return a.LeaseContext().Err() != nil })
	_, err = js.Stream(t.Context(), "KV_rolebus")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	eventually(t, "the server to have time to say that there is none", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := a.Join(ctx, "other")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		return errors.Is(err, rolebus.ErrNoBucket)
	})
	require.NoError(t, rolebus.Provision(t.Context(), adm))
	eventually(t, "the record to be there again", func() bool { return len(stored(t, js, "rolebus", "default")["a"]) == 1 })
	eventually(t, "the lease to be back", func() bool { return a.LeaseContext().Err() == nil })
	require.Equal(t, []string{"a"}, names(o.Nodes("x").Slice()))
}

func TestProvision(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	opts := []rolebus.Option{
		rolebus.WithStorage(jetstream.MemoryStorage), rolebus.WithMaxBytes(2 << 20), rolebus.WithReplicas(1),
		rolebus.WithRoles("ignored"), rolebus.WithoutProvisioning(), // as the processes have it
	}
	plan, err := rolebus.PlanProvision(t.Context(), nc, opts...)
	require.NoError(t, err)
	require.True(t, plan.Make)
	require.Equal(t, "rolebus", plan.Bucket)
	_, err = js.Stream(t.Context(), "KV_rolebus")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound, "a plan makes nothing")

	h := &told{}
	require.NoError(t, rolebus.Provision(t.Context(), nc, append(opts, rolebus.WithHooks(h))...))
	require.Equal(t, []any{rolebus.BucketInfo{Bucket: "rolebus", Made: true}}, h.all())
	cfg := settings(t, js)
	require.Equal(t, jetstream.MemoryStorage, cfg.Storage)
	require.EqualValues(t, 2<<20, cfg.MaxBytes)
	require.NoError(t, rolebus.Provision(t.Context(), nc, append(opts, rolebus.WithHooks(h))...), "again")
	require.Len(t, h.all(), 1)
	require.Equal(t, cfg, settings(t, js))
	plan, err = rolebus.PlanProvision(t.Context(), nc, opts...)
	require.NoError(t, err)
	require.Equal(t, rolebus.BucketPlan{Bucket: "rolebus"}, plan)

	edit(t, js, func(c *streamConfig) { c.MaxAge, c.Duplicates = time.Hour, 0 })
	plan, err = rolebus.PlanProvision(t.Context(), nc, opts...)
	require.NoError(t, err)
	require.Equal(t, []string{"max age is 1h0m0s, must be none"}, plan.Mend)
	follow(t, nc, plan.Command)
	require.Zero(t, settings(t, js).MaxAge)
	edit(t, js, func(c *streamConfig) { c.MaxAge, c.Duplicates = time.Hour, 0 })
	require.NoError(t, rolebus.Provision(t.Context(), nc, opts...))
	require.Zero(t, settings(t, js).MaxAge)

	err = rolebus.Provision(t.Context(), nc, rolebus.WithStorage(jetstream.FileStorage))
	require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
	require.ErrorContains(t, rolebus.Provision(t.Context(), nil, rolebus.WithMaxBytes(1)), "the connection is nil")
	require.ErrorContains(t, rolebus.Provision(t.Context(), nc, rolebus.WithMaxBytes(1)), "max bytes 1: at least 65536")
	require.ErrorContains(t, rolebus.Provision(t.Context(), nc, rolebus.WithPlacement("", "")), "placement")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, rolebus.Provision(over, nc), context.Canceled)
	var none context.Context
	_, err = rolebus.PlanProvision(none, nc)
	require.ErrorContains(t, err, "nil context")
}

// A plan of a bucket that there is not has the command that makes it.
func TestAPlanMakesTheBucketByHand(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	plan, err := rolebus.PlanProvision(t.Context(), nc)
	require.NoError(t, err)
	follow(t, nc, plan.Command)
	again, err := rolebus.PlanProvision(t.Context(), nc)
	require.NoError(t, err)
	require.Equal(t, rolebus.BucketPlan{Bucket: "rolebus"}, again)
}
