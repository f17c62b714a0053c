package nats_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// What the bucket says of scopes, few and many, with names that are no tokens; also to an observer of all.
func TestAllScopesAreThoseInWhichSomebodyIs(t *testing.T) {
	srv := rolebustest.NewServer(t)
	a := srv.Bus(rolebus.WithScopes("s", "a.b *>", "日本"))
	b := srv.Bus(rolebus.WithScopes("s"), rolebus.WithTTL(time.Minute)) // it has many leases to keep
	o := srv.Bus(rolebus.WithObserver(), rolebus.WithAllScopes())
	want := []string{"a.b *>", "default", "s", "日本"}
	names, err := a.AllScopes(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, names)
	require.Equal(t, want, o.Scopes())

	require.NoError(t, a.Leave(t.Context(), "a.b *>"))
	require.NoError(t, a.Leave(t.Context(), "s"))
	for i := range 120 { // more than are read by a page
		_, err := b.Join(t.Context(), fmt.Sprintf("many-%03d", i))
		require.NoError(t, err)
	}
	names, err = o.AllScopes(t.Context())
	require.NoError(t, err)
	require.Len(t, names, 123)
	require.NotContains(t, names, "a.b *>")
	eventually(t, "the observer to have joined them", func() bool { return len(o.Scopes()) >= 123 })
	eventually(t, "it to have left what is empty", func() bool { return slices.Equal(names, o.Scopes()) })

	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.AllScopes(over)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, a.Close())
	_, err = a.AllScopes(t.Context())
	require.ErrorIs(t, err, rolebus.ErrClosed)
}
