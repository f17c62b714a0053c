package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// called is a node that may do everything and handles a method, and one, api-1, that may do what the lines say.
type called struct {
	t    *testing.T
	srv  *rolebustest.Server
	b, a *rolebus.Bus
	log  *logged
}

func permittedCalls(t *testing.T, lines []string, opts ...rolebus.Option) *called {
	t.Helper()
	c := &called{t: t, srv: permitted(t, lines), log: &logged{}}
	c.b = bus(c.srv, "b", admin)
	c.handle(c.b, "b")
	opts = append(opts, app, rolebus.WithoutProvisioning(), rolebus.WithLogger(slog.New(slog.NewTextHandler(c.log, nil))))
	c.a = bus(c.srv, "api-1", opts...)
	rolebustest.WaitNodes(t, c.a, "b", 1)
	return c
}

// handle has a node with a role of its own echo.
func (c *called) handle(b *rolebus.Bus, role rolebus.Role) {
	c.t.Helper()
	_, err := call.Handle(b.Scope, "echo", func(_ context.Context, in string) (string, error) { return in, nil })
	require.NoError(c.t, err)
	require.NoError(c.t, b.AddRoles(c.t.Context(), role))
}

func (c *called) echo(b *rolebus.Bus, role rolebus.Role, method string) error {
	_, err := call.Func[string, string](b.Scope, role, method, call.Timeout(2*time.Second))(c.t.Context(), "x")
	return err
}

// calls has api-1 do all that a caller does.
func (c *called) calls() error {
	if err := c.echo(c.a, "b", "echo"); err != nil {
		return err
	}
	require.ErrorIs(c.t, c.echo(c.a, "b", "unknown"), call.ErrNoMethod)
	return nil
}

// serves has it do all that one who serves does: also look after a caller.
func (c *called) serves() error {
	c.handle(c.a, "a")
	asked := make(chan *nats.Msg, 100)
	nc := c.srv.Conn(nats.UserInfo("admin", "secret"))
	defer nc.Close()
	_, err := nc.ChanSubscribe("_INBOX.*.call.alive", asked)
	require.NoError(c.t, err)
	require.NoError(c.t, nc.Flush())
	_, err = call.Handle(c.a.Scope, "long", func(ctx context.Context, _ string) (string, error) {
		select {
		case <-asked:
			return "asked", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	require.NoError(c.t, err)
	rolebustest.WaitNodes(c.t, c.b, "a", 1)
	if err := c.echo(c.b, "a", "echo"); err != nil {
		return err
	}
	if _, err = call.Func[string, string](c.b.Scope, "a", "long")(c.t.Context(), "x"); err != nil {
		return err
	}
	service := fmt.Sprint("$SRV.PING.rolebus-default.api-1-", c.a.Snapshot().Node("api-1").Incarnation())
	eventually(c.t, "the node to be a service, or not to be allowed to", func() bool {
		_, err := nc.Request(service, nil, time.Second)
		return err == nil || c.log.count("ermissions") > 0
	})
	return nil
}

// With what the page says a process calls, and is called, and the server refuses it nothing.
func TestPermissionsOfCallsAreEnough(t *testing.T) {
	t.Parallel()
	lines := func(roles ...string) (all []string) {
		for _, role := range roles {
			all = append(all, permissions(t, role)...)
		}
		return all
	}
	for name, tc := range map[string]struct {
		lines []string
		opts  []rolebus.Option
		do    func(*called) error
	}{
		"a member that calls":    {lines("member", "caller"), nil, (*called).calls},
		"an observer that calls": {lines("observer", "caller"), []rolebus.Option{rolebus.WithObserver()}, (*called).calls},
		"a member that serves":   {lines("member", "callee"), nil, (*called).serves},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := permittedCalls(t, tc.lines, tc.opts...)
			require.NoError(t, tc.do(c))
			require.NoError(t, c.a.Close())
			require.Zero(t, c.log.count("permissions violation"), c.log.String())
		})
	}
}

// Without any one line something is refused: who calls is told so, and of one who serves it stands in its log.
func TestEachPermissionOfCallsIsNeeded(t *testing.T) {
	t.Parallel()
	for role, do := range map[string]func(*called) error{"caller": (*called).calls, "callee": (*called).serves} {
		lines := permissions(t, role)
		for i, missing := range lines {
			t.Run(missing, func(t *testing.T) {
				t.Parallel()
				c := permittedCalls(t, append(permissions(t, "member"), slices.Delete(slices.Clone(lines), i, i+1)...))
				err := do(c)
				if role == "caller" {
					require.ErrorIs(t, err, nats.ErrPermissionViolation)
				}
				verb, subject, _ := strings.Cut(missing, " ")
				named := regexp.MustCompile(`(?i)permissions violation for ` + verb[:6] + `[a-z]* to \W*` +
					strings.NewReplacer(`\*`, `[^.]+`, `>`, `.+`).Replace(regexp.QuoteMeta(subject)))
				eventually(t, "a refusal", func() bool { return named.MatchString(c.log.String()) })
			})
		}
	}
}
