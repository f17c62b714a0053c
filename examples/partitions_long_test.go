//go:build long

package examples_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStrictPartitions(t *testing.T) {
	t.Parallel()
	p := start(t, "partitions", "-strict")
	partitionsAreShared(t, p, `each is a term; the TTL is 2s\n`)
	require.Contains(t, p.stdout.String(), "two never worked in one partition at the same time\n")
}
