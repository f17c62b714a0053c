package exclusive_test

import (
	"context"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/internal/atonce"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	atonce.Tests(8, 2)
	goleak.VerifyTestMain(m)
}

const ttl = time.Second

func withTTL() rolebus.Option { return rolebus.WithTTL(ttl) }

// soon is a context for what must end soon.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// lasting is a TTL that no machine is too busy for, where no lease is to be lost.
const lasting = time.Minute

// free has the bucket say of names that somebody has given them up: so they are had at once, however young the bucket is.
func free(t testing.TB, by *rolebus.Bus, kind string, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := by.Entries(kind).Remove(soon(t), name, claimOf(by, 1), 0)
		require.NoError(t, err)
	}
}

// join makes a process that has joined the default scope.
func join(t testing.TB, srv *rolebustest.Server, opts ...rolebus.Option) *rolebus.Bus {
	t.Helper()
	return srv.Bus(append([]rolebus.Option{rolebus.WithTTL(ttl)}, opts...)...)
}

// campaign waits for a term.
func campaign(t testing.TB, b *rolebus.Bus, name string, opts ...exclusive.Option) *exclusive.Term {
	t.Helper()
	term, err := exclusive.Campaign(soon(t), b.Scope, name, opts...)
	require.NoError(t, err)
	return term
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 30*time.Second, 5*time.Millisecond, what)
}

const rolebusPatience = 10 * time.Second // one request of a test
