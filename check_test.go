package rolebus

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCheckIsQuietWhileAllIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithScopes("s"), WithSyncInterval(time.Second))
		o := f.bus(t, "o", WithObserver(), WithSyncInterval(time.Second))
		o.In("not joined")
		for range 2000 {
			require.NoError(t, a.Check())
			require.NoError(t, o.Check())
			time.Sleep(17 * time.Millisecond)
		}
	})
}

func TestCheckTellsAnOutageByScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		sync := WithSyncInterval(2 * time.Second)
		a, o := f.bus(t, "a", WithScopes("s"), sync), f.bus(t, "o", WithObserver(), sync)
		f.stop()
		time.Sleep(2 * time.Second)
		require.NoError(t, a.Check(), "not yet")
		time.Sleep(2*time.Second + time.Millisecond)
		for _, b := range []*fakeBus{a, o} {
			err := b.Check()
			require.ErrorIs(t, err, ErrStale)
			require.NotErrorIs(t, err, ErrLeaseLost)
			require.ErrorContains(t, err, `check in scope "default": the view is old: for 4`)
		}
		time.Sleep(fakeTTL)
		err := a.Check()
		require.ErrorIs(t, err, ErrStale)
		require.ErrorIs(t, err, ErrLeaseLost)
		lines := strings.Split(err.Error(), "\n")
		require.Len(t, lines, 4)
		for i, scope := range []string{`"default"`, `"default"`, `"s"`, `"s"`} {
			require.Contains(t, lines[i], prefix+"check in scope "+scope)
		}
		require.NotErrorIs(t, o.Check(), ErrLeaseLost, "an observer has none")
		require.NoError(t, a.Err(), "it lives")
		f.start()
		time.Sleep(2 * time.Second)
		require.NoError(t, a.Check())
		require.NoError(t, o.Check())
	})
}

// Heartbeats get through, and what was missed cannot be read.
func TestCheckTellsAViewThatIsNotSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a")
		a.link.blind(true)
		time.Sleep(2*a.opts.sync + time.Second)
		err := a.Check()
		require.ErrorIs(t, err, ErrStale)
		require.NotErrorIs(t, err, ErrLeaseLost)
	})
}

func TestCheckTellsThatTheBusHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		older := f.bus(t, "a")
		newer := f.bus(t, "a")
		<-older.Done()
		require.ErrorIs(t, older.Check(), ErrSuperseded)
		require.NoError(t, newer.Check())
		require.NoError(t, newer.Leave(t.Context(), "default"))
		require.NoError(t, newer.Check(), "no scope, no complaint")
		require.NoError(t, newer.Close())
		require.ErrorIs(t, newer.Check(), ErrClosed)
	})
}

func TestASupersededBusTellsWhoseNameWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "api-1", WithDefaultScope("main"))
		newer := f.bus(t, "api-1", func(o *options) { o.named = false }, WithDefaultScope("main"))
		<-a.Done()
		require.ErrorContains(t, a.Err(), `node "api-1", named by WithNode, in scope "main": incarnation `)
		f.bus(t, "api-1", WithDefaultScope("main"))
		<-newer.Done()
		require.ErrorContains(t, newer.Err(), `node "api-1", named by default, in scope "main"`)
	})
}
