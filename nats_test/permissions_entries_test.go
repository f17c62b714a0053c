package nats_test

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// keeper is a node api-1 that may do what the lines say.
type keeper struct {
	srv  *rolebustest.Server
	a, b *rolebus.Bus
	log  *logged
}

func permittedEntries(t *testing.T, lines []string, opts ...rolebus.Option) *keeper {
	t.Helper()
	k := &keeper{srv: permitted(t, lines), log: &logged{}}
	k.b = bus(k.srv, "b", admin, rolebus.WithRoles("x"))
	k.a = bus(k.srv, "api-1", append(opts, app, rolebus.WithoutProvisioning(), rolebus.WithLogger(slog.New(slog.NewTextHandler(k.log, nil))))...)
	return k
}

// keeps has it do all that who keeps entries does.
func (k *keeper) keeps(t *testing.T) error {
	f := &shelf{all: map[string]rolebus.Entry{}}
	stop, err := k.a.Entries("claim").Follow(f.hear)
	require.NoError(t, err)
	t.Cleanup(stop)
	_, err = k.a.Subscribe(k.a.Subject("claim", "leader"), echo)
	require.NoError(t, err)
	eventually(t, "all to be read, or a refusal", func() bool { return f.whole() > 0 || k.log.count("ermissions") > 0 })
	e := k.a.Entries("claim")
	generation, err := e.Put(t.Context(), "leader", "1", 0)
	if err != nil {
		return err
	}
	if _, err := e.Get(t.Context(), "leader"); err != nil {
		return err
	}
	if _, err = e.Remove(t.Context(), "leader", "", generation); err != nil {
		return err
	}
	if err := k.a.Conn().Publish(k.a.Subject("claim", "leader"), nil); err != nil {
		return err
	}
	return k.a.Conn().Flush()
}

func TestPermissionsOfEntriesAreEnough(t *testing.T) {
	t.Parallel()
	lines := permissions(t, "entries")
	k := permittedEntries(t, append(permissions(t, "member"), lines...))
	require.NoError(t, k.keeps(t))
	f := followed(t, k.a.Entries("claim"))
	for i := range 200 { // more than one page
		put(t, k.b.Entries("claim"), string(rune('A'+i)), "2", 0)
	}
	f.has(t, string(rune('A'+199)), "2")
	g := followed(t, permittedEntries(t, append(permissions(t, "observer"), lines[1], lines[3]), rolebus.WithObserver()).a.Entries("claim"))
	eventually(t, "all to be read", func() bool { return g.whole() > 0 })
	require.NoError(t, k.a.Close())
	require.Zero(t, k.log.count("permissions violation"), k.log.String())
}

// Without any one line something is refused, which the server tells with its subject.
func TestEachPermissionOfEntriesIsNeeded(t *testing.T) {
	t.Parallel()
	lines := permissions(t, "entries")
	for i, missing := range lines {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			k := permittedEntries(t, append(permissions(t, "member"), slices.Delete(slices.Clone(lines), i, i+1)...))
			verb, subject, _ := strings.Cut(missing, " ")
			err := k.keeps(t)
			if subject == "$KV.rolebus.default.claim.*" {
				require.ErrorIs(t, err, nats.ErrPermissionViolation)
				require.NotErrorIs(t, err, rolebus.ErrNotConfirmed)
			}
			named := regexp.MustCompile(`(?i)permissions violation for ` + verb[:6] + `[a-z]* to \W*` +
				strings.ReplaceAll(regexp.QuoteMeta(subject), `\*`, `[^.]+`))
			eventually(t, "a refusal", func() bool { return named.MatchString(k.log.String()) })
		})
	}
}
