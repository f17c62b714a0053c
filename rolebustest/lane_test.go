package rolebustest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// laneTest is a lane in a bubble: what is written to it and when it arrives.
type laneTest struct {
	*pipe // for its shape
	*io.PipeWriter
	lane  *lane
	start time.Time

	mu      sync.Mutex
	arrived []arrival
	broken  error // what a write at the far end returns
	failed  []error
}

type arrival struct {
	at   time.Duration
	what string
}

func inLane(t *testing.T, f func(l *laneTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, over := context.WithCancel(t.Context())
		from, to := io.Pipe()
		l := &laneTest{pipe: newPipe(0, ""), PipeWriter: to, start: time.Now()}
		l.lane = newLane(ctx, up, l.shapeNow)
		l.lane.ended = func(err error) { l.note(err.Error()) }
		l.lane.failed = func(err error) { l.failed = append(l.failed, err) }
		var wg sync.WaitGroup
		wg.Go(func() { l.lane.fill(from) })
		wg.Go(func() { l.lane.empty(l.farEnd()) })
		f(l)
		over()
		to.Close()
		wg.Wait()
	})
}

type farEnd struct{ l *laneTest }

func (l *laneTest) farEnd() io.Writer { return farEnd{l} }

func (e farEnd) Write(b []byte) (int, error) {
	if e.l.broken != nil {
		return 0, e.l.broken
	}
	e.l.note(string(b))
	return len(b), nil
}

func (l *laneTest) note(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived = append(l.arrived, arrival{time.Since(l.start), what})
}

func (l *laneTest) say(what string) { _, _ = l.Write([]byte(what)) }

// after returns what has arrived d after the start.
func (l *laneTest) after(d time.Duration) []arrival {
	time.Sleep(time.Until(l.start.Add(d)))
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arrived
}

func (l *laneTest) delayed(d time.Duration) { l.reshape(func(s *shape) { s.delay = d }) }

const second = time.Second

func TestDelayIsOfTimeNotOfBandwidth(t *testing.T) {
	inLane(t, func(l *laneTest) {
		l.delayed(10 * second)
		l.say("a")
		l.say("b")
		l.after(3 * second)
		l.say("c")
		l.PipeWriter.Close()
		require.Equal(t, []arrival{{10 * second, "a"}, {10 * second, "b"}, {13 * second, "c"}, {13 * second, "EOF"}}, l.after(time.Hour))
	})
}

func TestDelayChangesForWhatIsUnderWay(t *testing.T) {
	inLane(t, func(l *laneTest) {
		l.delayed(10 * second)
		l.say("a")
		l.after(4 * second)
		l.delayed(20 * second)
		l.say("b")
		require.Empty(t, l.after(19*second))
		require.Len(t, l.after(20*second), 1)
		l.delayed(0)
		l.say("c")
		require.Equal(t, []arrival{{20 * second, "a"}, {20 * second, "b"}, {20 * second, "c"}}, l.after(time.Hour))
	})
}

func TestStallHoldsWhatIsDue(t *testing.T) {
	inLane(t, func(l *laneTest) {
		l.delayed(10 * second)
		l.say("a")
		l.stall(up)
		l.say("b")
		require.Empty(t, l.after(15*second))
		l.say("c")
		l.reshape(func(s *shape) { s.stalled[up] = false })
		l.stall(down) // is another way
		require.Equal(t, []arrival{{15 * second, "a"}, {15 * second, "b"}, {25 * second, "c"}}, l.after(time.Hour))
	})
}

// What is behind a lost segment waits with it, and what it was held for is over with the loss.
func TestLostSegmentHoldsUpTheRest(t *testing.T) {
	inLane(t, func(l *laneTest) {
		l.reshape(func(s *shape) { s.loss = 1e-300 }) // so that only what the test says is lost
		lost := func(what string, losses int) {
			l.lane.add(chunk{bytes: []byte(what), sent: time.Now(), losses: losses, resend: resendAfter})
		}
		lost("a", 2)
		l.say("b")
		l.after(500 * time.Millisecond)
		lost("c", 1)
		l.say("d")
		l.after(second)
		lost("e", 10)
		l.say("f")
		require.Len(t, l.after(5*second), 4)
		l.reshape(func(s *shape) { s.loss = 0 })
		const ms = time.Millisecond
		require.Equal(t, []arrival{
			{600 * ms, "a"}, {600 * ms, "b"}, {700 * ms, "c"}, {700 * ms, "d"}, {5 * second, "e"}, {5 * second, "f"},
		}, l.after(time.Hour))
	})
}

// A sender that is far ahead has to wait, however small the pieces are.
func TestLaneHoldsSoMuch(t *testing.T) {
	for _, size := range []int{100, laneBuffer, 10 * laneBuffer} {
		inLane(t, func(l *laneTest) {
			l.stall(up)
			go func() {
				for range 2 * laneWindow / size {
					_, _ = l.Write(make([]byte, size))
				}
				l.PipeWriter.Close()
			}()
			synctest.Wait()
			require.GreaterOrEqual(t, l.lane.size, laneWindow)
			require.LessOrEqual(t, l.lane.size, laneWindow+laneBuffer+chunkCost)
			l.release()
			got := 0
			for _, a := range l.after(second) {
				got += len(a.what)
			}
			require.Equal(t, 2*laneWindow/size*size+len("EOF"), got)
		})
	}
}

// That the far end is gone is told once; what is sent to it is lost and holds up nobody, and the end is still told.
func TestBrokenLane(t *testing.T) {
	inLane(t, func(l *laneTest) {
		l.broken = errors.New("reset")
		for range 10 * laneWindow / laneBuffer {
			_, err := l.Write(make([]byte, laneBuffer))
			require.NoError(t, err)
		}
		l.CloseWithError(errors.New("gone"))
		require.Equal(t, []arrival{{0, "gone"}}, l.after(second))
		require.Equal(t, []error{l.broken}, l.failed)
	})
}
