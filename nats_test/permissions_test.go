package nats_test

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// permissions reads the block of a role in PROTOCOL.md: lines of "publish" or "subscribe" and a subject.
func permissions(t *testing.T, role string) (lines []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "PROTOCOL.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "```permissions "+role+"\n")
	require.True(t, found, role)
	block, _, _ := strings.Cut(rest, "```")
	for line := range strings.Lines(block) {
		lines = append(lines, strings.TrimSpace(regexp.MustCompile(`#.*`).ReplaceAllString(line, "")))
	}
	return lines
}

// permitted is a server where the user app may do what the lines say, as often as there are no more of them than that.
func permitted(t *testing.T, lines []string) *rolebustest.Server {
	t.Helper()
	return rolebustest.NewServer(t, permit(lines))
}

func permit(lines []string) func(*server.Options) {
	p := &server.Permissions{Publish: &server.SubjectPermission{}, Subscribe: &server.SubjectPermission{}}
	for _, line := range lines {
		kind, subject, _ := strings.Cut(line, " ")
		switch kind {
		case "publish":
			p.Publish.Allow = append(p.Publish.Allow, subject)
		case "subscribe":
			p.Subscribe.Allow = append(p.Subscribe.Allow, subject)
		case "allow_responses":
			p.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
		}
	}
	for _, of := range []*server.SubjectPermission{p.Publish, p.Subscribe} {
		if len(of.Allow) == 0 {
			of.Deny = []string{">"} // no line is no right; to the server it would be every one
		}
	}
	return withUser(p)
}

var app = rolebus.WithNATS(nats.UserInfo("app", "secret"))
var admin = rolebus.WithNATS(nats.UserInfo("admin", "secret"))

// With what the page says a member does all that members do, and the server refuses it nothing.
func TestPermissionsAreEnough(t *testing.T) {
	t.Parallel()
	alone := func(t *testing.T, lines []string) *rolebustest.Server { return permitted(t, lines) }
	otherwise := func(pairs ...string) func([]string) []string {
		return func(lines []string) (said []string) {
			for _, line := range lines {
				said = append(said, strings.NewReplacer(pairs...).Replace(line))
			}
			return said
		}
	}
	inDomain := []rolebus.Option{rolebus.WithDomain("hub")}
	for name, tc := range map[string]struct {
		role  string
		lines func([]string) []string
		start func(*testing.T, []string) *rolebustest.Server
		all   []rolebus.Option
		app   []rolebus.Option
	}{
		"member":   {"member", otherwise(), alone, nil, nil},
		"observer": {"observer", otherwise(), alone, nil, []rolebus.Option{rolebus.WithObserver()}},
		"member with inboxes of its own": {
			"member", otherwise("_INBOX.", "_INBOX_app."), alone, nil,
			[]rolebus.Option{rolebus.WithNATS(nats.CustomInboxPrefix("_INBOX_app"))},
		},
		"member at a server of the domain": {"member", otherwise(), func(t *testing.T, lines []string) *rolebustest.Server {
			return rolebustest.NewServer(t, permit(lines), func(o *server.Options) { o.JetStreamDomain = "hub" })
		}, inDomain, nil},
		"member at a leaf node": {
			"member", otherwise("$JS.API.", "$JS.hub.API.", "publish $KV.", "publish $JS.hub.API.$KV."),
			func(t *testing.T, lines []string) *rolebustest.Server {
				_, leaf := rolebustest.NewLeaf(t, permit(lines), func(o *server.Options) {
					if o.ServerName == "hub" {
						o.JetStreamDomain = "hub"
						return
					}
					o.JetStream = false
					o.LeafNode.Remotes[0].URLs[0].User = url.UserPassword("admin", "secret")
				})
				return leaf
			}, inDomain, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := tc.start(t, tc.lines(permissions(t, tc.role)))
			b := bus(srv, "b", append(tc.all, admin, rolebus.WithRoles("x"))...)
			log := &logged{}
			opts := append(tc.all, app, rolebus.WithoutProvisioning(), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
			a := bus(srv, "api-1", append(opts, tc.app...)...)
			own := watch(t, a.Scope)
			rolebustest.WaitNodes(t, a, "x", 1)
			if tc.role == "member" { // an observer writes nothing
				require.NoError(t, a.AddRoles(t.Context(), "y"))
				rolebustest.WaitNodes(t, b, "y", 1)
			}
			// The dead are found, by what this one asks.
			link := srv.Link()
			bus(link, "c", append(tc.all, admin, rolebus.WithTTL(20*time.Second))...)
			awaitAsked(t, srv, "c")
			link.Cut()
			eventually(t, "the dead one to be missed", func() bool { return slices.Contains(own.lines("c"), "NodeLeft unreachable") })
			eventually(t, "some syncs", func() bool { return a.Snapshot().Stale() == 0 })
			require.Zero(t, log.count("permissions violation"), log.String())
			require.NoError(t, a.Close())
			require.Zero(t, log.count("permissions violation"), log.String())
		})
	}
}

// awaitAsked waits until a node was probed.
func awaitAsked(t *testing.T, srv *rolebustest.Server, node string) {
	t.Helper()
	nc := srv.Conn(nats.UserInfo("admin", "secret"))
	defer nc.Close()
	probes := make(chan *nats.Msg, 1000)
	_, err := nc.ChanSubscribe("rolebus.probe.default."+node, probes)
	require.NoError(t, err)
	eventually(t, node+" to be asked", func() bool { return len(probes) > 3 })
}

// Without any one line something is refused, which the server tells with its subject, but for the right to answer, which is missed
// where it is used.
func TestEachPermissionIsNeeded(t *testing.T) {
	t.Parallel()
	lines := permissions(t, "member")
	for i, missing := range lines {
		if missing == "publish rolebus.suspect.default.*" || missing == "publish rolebus.witness.*" {
			continue // which node hints, and which one then asks for a witness, is chance
		}
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			srv := permitted(t, slices.Delete(slices.Clone(lines), i, i+1))
			link := srv.Link()
			bus(srv, "b", admin, rolebus.WithRoles("x"))
			log := &logged{}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			a, err := rolebus.Connect(ctx, link.URL(), rolebus.WithNode("api-1"), rolebus.WithTTL(ttl), rolebus.WithSyncInterval(200*time.Millisecond), app,
				rolebus.WithoutProvisioning(), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
			if err != nil {
				if missing != "subscribe _INBOX.>" { // of which nobody is told in time, but the log
					require.ErrorIs(t, err, nats.ErrPermissionViolation)
				}
				require.Positive(t, log.count("ermissions")+strings.Count(err.Error(), "ermissions"))
				return
			}
			defer func() { _ = a.Close() }()
			doomed := srv.Link()
			bus(doomed, "c", admin, rolebus.WithRoles("x"), rolebus.WithTTL(20*time.Second))
			eventually(t, "c to be seen", func() bool { return a.Nodes("x").Len() == 2 })
			awaitAsked(t, srv, "c")
			doomed.Cut()
			eventually(t, "a refusal", func() bool {
				return log.count("ermissions violation") > 0 || log.count("ermissions Violation") > 0
			})
		})
	}
}

// A deployment job makes and mends the bucket with what the page says, and cannot do both without any of it.
func TestPermissionsOfADeploymentJob(t *testing.T) {
	t.Parallel()
	lines := permissions(t, "provision")
	// job makes the bucket, and mends what somebody has changed meanwhile.
	job := func(t *testing.T, lines []string) error {
		srv := permitted(t, lines)
		nc := srv.Conn(nats.UserInfo("app", "secret"))
		impatient := rolebus.WithRequestTimeout(time.Second)
		if err := rolebus.Provision(t.Context(), nc, impatient); err != nil {
			return err
		}
		edit(t, jetStream(t, srv.Conn(nats.UserInfo("admin", "secret"))), func(c *streamConfig) { c.MaxMsgs = 10 })
		if err := rolebus.Provision(t.Context(), nc, impatient); err != nil {
			return err
		}
		plan, err := rolebus.PlanProvision(t.Context(), nc, impatient)
		require.NoError(t, err)
		require.False(t, plan.Make)
		require.Empty(t, plan.Mend)
		return nil
	}
	require.NoError(t, job(t, lines))
	for i, missing := range lines {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			err := job(t, slices.Delete(slices.Clone(lines), i, i+1))
			require.ErrorIs(t, err, nats.ErrPermissionViolation)
			_, subject, _ := strings.Cut(missing, " ")
			require.ErrorContains(t, err, strings.TrimSuffix(subject, ">"))
		})
	}
}
