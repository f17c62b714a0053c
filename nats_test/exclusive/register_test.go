//go:build linux

package exclusive_test

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The register that judges must itself see a writer that comes too late, and show what is lost where nobody refuses.
func TestRegister(t *testing.T) {
	path := filepath.Join(t.TempDir(), "judge")
	j, err := newJudge(path)
	require.NoError(t, err)
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	p := &pen{conn: conn}
	ask := func(write bool, token uint64, value int64) (int64, bool) {
		return p.ask(request{Write: write, Name: 0, Seat: 1, Token: token, Value: value})
	}
	for _, step := range []struct {
		write    bool
		token    uint64
		value    int64
		now      int64
		accepted bool
	}{
		{false, 5, 0, 0, true}, {true, 5, 1, 1, true}, {true, 5, 2, 2, true},
		{false, 7, 0, 2, true},                          // the next term
		{true, 5, 3, 2, false}, {false, 6, 0, 2, false}, // the one before is late
		{true, 7, 3, 3, true},
	} {
		value, accepted := ask(step.write, step.token, step.value)
		require.Equal(t, step.accepted, accepted, step)
		require.Equal(t, step.now, value, step)
	}
	names := []nameSpec{{Scope: "s", Name: "n", Seats: 2}}
	require.Equal(t, map[place]register{{"s/n", 1}: {value: 3, accepted: 3, refused: 2}}, j.close(names))
	_, accepted := ask(true, 7, 4)
	require.False(t, accepted, "the judge is gone")
}
