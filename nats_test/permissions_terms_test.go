package nats_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/exclusive"
)

// terms has it hold a name of which the bucket says nothing.
func (k *keeper) terms(t *testing.T) {
	term, err := exclusive.Campaign(t.Context(), k.a.Scope, "leader")
	require.NoError(t, err)
	require.NoError(t, term.Resign(t.Context()))
}

func TestPermissionsOfTermsAreEnough(t *testing.T) {
	t.Parallel()
	k := permittedEntries(t, slices.Concat(permissions(t, "member"), permissions(t, "entries"), permissions(t, "terms")))
	k.terms(t)
	require.NoError(t, k.a.Close())
	require.Zero(t, k.log.count("permissions violation"), k.log.String())
}

// Without one of them names are held all the same, and the server tells what it refused.
func TestEachPermissionOfTermsIsNeeded(t *testing.T) {
	t.Parallel()
	lines := permissions(t, "terms")
	for i, missing := range lines {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			k := permittedEntries(t, slices.Concat(permissions(t, "member"), permissions(t, "entries"), slices.Delete(slices.Clone(lines), i, i+1)))
			k.terms(t)
			eventually(t, "a refusal", func() bool { return k.log.count("ermissions") > 0 })
		})
	}
}

// Without one of those of entries no name is held, and the error says what is refused, though the campaign waits: it may be permitted soon.
func TestACampaignTellsWhatItMayNot(t *testing.T) {
	t.Parallel()
	lines := permissions(t, "entries")
	for i, missing := range lines {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			k := permittedEntries(t, slices.Concat(permissions(t, "member"), slices.Delete(slices.Clone(lines), i, i+1), permissions(t, "terms")))
			term, err := exclusive.Campaign(t.Context(), k.b.Scope, "leader") // a name that the bucket knows is had at once
			require.NoError(t, err)
			require.NoError(t, term.Resign(t.Context()))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err = exclusive.Campaign(ctx, k.a.Scope, "leader")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, nats.ErrPermissionViolation)
			_, subject, _ := strings.Cut(missing, " ")
			require.ErrorContains(t, err, strings.TrimSuffix(subject, "*"))
			require.ErrorContains(t, err, "docs/PROTOCOL.md")
			eventually(t, "nobody to hold it", func() bool { _, is := exclusive.Holder(k.b.Scope, "leader"); return !is })
		})
	}
}

// Where the bucket may not be read, a read waits for it the first time, and never again.
func TestReadsDoNotWaitForWhatIsRefused(t *testing.T) {
	t.Parallel()
	k := permittedEntries(t, permissions(t, "member"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 20 {
		_, is := exclusive.Holder(k.a.Scope, "leader")
		require.False(t, is)
		require.Empty(t, exclusive.Holders(k.a.Scope, "leader"))
		_, is = exclusive.Owner(k.a.Scope, "worker", 4, 1, exclusive.Strict())
		require.False(t, is)
	}
	require.NoError(t, ctx.Err())
}
