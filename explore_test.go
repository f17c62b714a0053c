package rolebus

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnObserverOfAllScopesFollowsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithScopes("s", "odd *.> näme"))
		o := f.bus(t, "o", WithObserver(), WithAllScopes(), WithHandler(Handler{}))
		require.Equal(t, []string{"default", "odd *.> näme", "s"}, o.Scopes(), "what is there, at once")
		require.NotNil(t, o.In("s").Snapshot().live("a"))

		_, err := a.Join(t.Context(), "later")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"default", "later", "odd *.> näme", "s"}, o.Scopes(), "what comes")

		watched := false
		go func() {
			for ev := range o.In("later").Watch(t.Context()) {
				watched = watched || ev.Kind == NodeLeft
			}
		}()
		synctest.Wait()
		require.NoError(t, a.Leave(t.Context(), "later"))
		synctest.Wait()
		require.Contains(t, o.Scopes(), "later", "whoever watches sees the last one go")
		time.Sleep(2 * o.opts.sync)
		synctest.Wait()
		require.Equal(t, []string{"default", "odd *.> näme", "s"}, o.Scopes(), "what is empty is left")
		require.True(t, watched)

		_, err = a.Join(t.Context(), "later")
		require.NoError(t, err)
		synctest.Wait()
		require.Contains(t, o.Scopes(), "later", "and joined again")
	})
}

// An announcement that was lost is made up for by a look at the bucket.
func TestAnObserverOfAllScopesMissesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, o := f.bus(t, "a"), f.bus(t, "o", WithObserver(), WithAllScopes())
		o.link.setCut(true)
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		o.link.setCut(false)
		synctest.Wait()
		require.NotContains(t, o.Scopes(), "s")
		time.Sleep((exploreEvery + 1) * o.opts.sync)
		synctest.Wait()
		require.Contains(t, o.Scopes(), "s")
	})
}

// Scopes may come and go for ever: of those that nobody asked for nothing is kept.
func TestAnObserverOfAllScopesForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, o := f.bus(t, "a"), f.bus(t, "o", WithObserver(), WithAllScopes())
		asked := o.In("job-7")
		for i := range 20 {
			name := fmt.Sprintf("job-%d", i)
			_, err := a.Join(t.Context(), name)
			require.NoError(t, err)
			synctest.Wait()
			require.Contains(t, o.Scopes(), name)
			require.NoError(t, a.Leave(t.Context(), name))
		}
		time.Sleep(3 * o.opts.sync)
		synctest.Wait()
		require.Equal(t, []string{"default"}, o.Scopes())
		require.Len(t, o.scopes, 2, "the default scope, and the one that was asked for")
		require.Same(t, asked, o.In("job-7"))
	})
}

func TestAllScopesIsForObservers(t *testing.T) {
	_, err := newOptions([]Option{WithAllScopes()})
	require.ErrorContains(t, err, "all scopes: only for an observer")
}
