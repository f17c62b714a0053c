package exclusive

import (
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// A life that is not seen may be certain for as long as its lease, be that as long as it may.
func TestNothingIsLeftBehindWithinALongLease(t *testing.T) {
	t.Parallel()
	var k standing
	began := time.Now()
	k.hear(rolebus.Entry{Generation: 1, Value: claim{life: life{"x", 1}, token: 1, ttl: 24 * time.Hour, since: began}.encode()}, began)
	k.look(false, began)
	require.False(t, k.left(began.Add(23*time.Hour)))
	require.True(t, k.left(began.Add(26*time.Hour)))
}

func TestWhatTheDeadHaveLeftBehindIsGivenUp(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := srv.Bus(rolebus.WithTTL(time.Second)), srv.Bus(rolebus.WithTTL(time.Second))
	term, err := Campaign(t.Context(), a.Scope, "job")
	require.NoError(t, err)
	kept, err := Campaign(t.Context(), b.Scope, "kept")
	require.NoError(t, err)
	require.NoError(t, a.Close())
	_, is := Holder(b.Scope, "job")
	require.Eventually(t, func() bool { _, is = Holder(b.Scope, "job"); return !is }, 20*time.Second, time.Millisecond)

	book, job := bookOf(b.Scope), post{kindName, "job"}
	require.Eventually(t, func() bool { // when the book has seen the snapshot, too
		_, k := book.judge(job, b.Snapshot(), time.Now())
		return k.stands && !k.absent.IsZero()
	}, 20*time.Second, time.Millisecond)
	book.sweepAt(t.Context(), time.Now().Add(endMemory/2))
	_, k := book.judge(job, b.Snapshot(), time.Now())
	require.True(t, k.stands, "not before its time")
	book.sweepAt(t.Context(), time.Now().Add(2*endMemory))
	_, k = book.judge(job, b.Snapshot(), time.Now())
	require.True(t, k.resigned)
	require.Equal(t, term.Token(), k.claim.token)
	_, k = book.judge(post{kindName, "kept"}, b.Snapshot(), time.Now())
	require.True(t, k.stands, "what somebody has is not left behind")
	require.NoError(t, kept.Context().Err())
}
