//go:build linux

package exclusive_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The check finds what befalls who goes by the first node of a role: when the link of that is cut, the others leave it out at once, as it cannot be
// reached, and it is certain of its lease for as long as it was.
func TestTheNaiveWayOverlaps(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	f, err := newFleet(t.TempDir(), 1, []time.Duration{ttl, ttl, ttl}, []nameSpec{{Scope: mainScope, Name: "first of worker"}})
	require.NoError(t, err)
	defer f.close()
	require.NoError(t, f.board("naive"))
	holds := func(s *seat) bool {
		all, _ := s.now.ledger.terms(s.now.number, s.name, f.names)
		list := heldTerms(all)
		return len(list) > 0 && now().since(list[len(list)-1].last) < 100*time.Millisecond
	}
	require.NoError(t, f.await(patience, "the first to hold it", func() bool { return holds(f.seats[0]) && !holds(f.seats[1]) && !holds(f.seats[2]) }))
	cut := now()
	found := func() (texts []string) {
		wrong, excused := check(f.story())
		require.Empty(t, excused, "a link that is cut excuses nothing")
		for _, x := range wrong {
			if strings.HasPrefix(x.text, "two at once") && x.at > cut { // while they join, each may find itself alone
				texts = append(texts, x.text)
			}
		}
		return texts
	}
	mend := f.shape(f.seats[0], shape{refuses: true, resetsFirst: true}, true)
	require.NoError(t, f.await(patience, "two to hold it at once", func() bool { return len(found()) > 0 }))
	require.NoError(t, mend())
	f.endNodes()
	t.Log(found())
}
