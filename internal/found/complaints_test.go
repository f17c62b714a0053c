package found

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An outage after a long peace is a new one.
func TestANewOutageIsLogged(t *testing.T) {
	var c Complaints
	now := time.Now()
	require.True(t, c.Now(now, "port 1"))
	require.False(t, c.Now(now.Add(time.Second), "port 2"), "numbers do not count")
	require.True(t, c.Now(now.Add(time.Second), "other"))
	require.True(t, c.Over())
	require.False(t, c.Over())
	require.False(t, c.Now(now.Add(9*time.Second), "port 1"))
	require.True(t, c.Now(now.Add(10*time.Second), "port 1"))
	require.False(t, c.Now(now.Add(29*time.Second), "port 1"))
	require.True(t, c.Now(now.Add(2*time.Hour), "port 1"))
	require.True(t, c.Now(now.Add(2*time.Hour+10*time.Second), "port 1"))
}
