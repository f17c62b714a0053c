package rolebus

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestWithoutAConnectionNothingIsSaidOfABuffer(t *testing.T) {
	err := failed("add roles", new(kv).explain("write", "s", nats.ErrReconnectBufExceeded))
	require.EqualError(t, err, "rolebus: add roles: write: no connection to a NATS server")
	require.ErrorIs(t, err, nats.ErrReconnectBufExceeded)
	require.True(t, passing(err))
}
