package embedded

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/discovery"
)

// Who leads says since which election, and the next one who does, says a later one.
func TestTheTermGrowsWithEachElection(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all []*ClusterServer
	for i := range 3 {
		c, err := Cluster(t.Context(), discovery.Local(discovery.Directory(filepath.Join(dir, "found")), discovery.Interval(100*time.Millisecond)),
			WithSize(3), WithName(fmt.Sprintf("p%d", i)))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		all = append(all, c)
	}
	// leads waits for a server that leads since a later term than this, and has it do something.
	leads := func(than uint64, then func(*running)) (term uint64) {
		require.Eventually(t, func() bool {
			for _, c := range all {
				done := make(chan struct{})
				c.commands <- func(l *loop) {
					if lead := l.brain.leading.lead; lead != nil && lead.Term > than {
						term = lead.Term
						then(l.member)
					}
					close(done)
				}
				if <-done; term != 0 {
					return true
				}
			}
			return false
		}, time.Minute, 10*time.Millisecond)
		return term
	}
	term := leads(0, func(r *running) { require.NoError(t, r.stepDown(context.Background())) })
	leads(term, func(*running) {})
}
