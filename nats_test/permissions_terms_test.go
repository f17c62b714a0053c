package nats_test

import (
	"slices"
	"testing"

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
