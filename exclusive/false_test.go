package exclusive_test

import (
	"fmt"
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

func TestAClaimInTheNameOfWhoHoldsNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv, rolebus.WithTTL(lasting)), join(t, srv, rolebus.WithTTL(lasting))
	free(t, b, "claim", "other")
	campaign(t, a, "other") // so that a reads claims
	claim := fmt.Sprintf(`{"node":%q,"incarnation":%d,"token":7,"ttl":1000,"since":1}`, a.Name(), a.Incarnation())
	_, err := b.Entries("claim").Put(soon(t), "leader", claim, 0)
	require.NoError(t, err)
	term := campaign(t, b, "leader")
	require.NoError(t, term.Context().Err())
	_, is := exclusive.Holder(a.Scope, "other")
	require.True(t, is, "what it holds it keeps")
}
