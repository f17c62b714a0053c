package rolebustest_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestDelayIsOneWay(t *testing.T) {
	t.Parallel()
	const d = 40 * time.Millisecond
	s := rolebustest.NewServer(t)
	l := s.Link()
	before := l.Conn()
	l.Delay(d)
	start := time.Now()
	after := l.Conn()
	require.GreaterOrEqual(t, time.Since(start), 4*d)
	for _, nc := range []*nats.Conn{before, after} {
		rtt, err := nc.RTT()
		require.NoError(t, err)
		require.GreaterOrEqual(t, rtt, 2*d)
	}
	b := l.Bus(rolebus.WithRoles("api"))
	start = time.Now()
	addRoles(t, b, "db")
	require.GreaterOrEqual(t, time.Since(start), 2*d)
	rolebustest.WaitRoles(t, s.Bus(), b.Name(), "api", "db")

	l.Delay(0)
	rolebustest.Eventually(t, "a quick answer", func() bool {
		rtt, err := after.RTT()
		return err == nil && rtt < 2*d
	})
}

// What was sent is not lost for a long delay, and does not wait for its end.
func TestDelayIsTakenBackForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	l := s.Link()
	far, sub := l.Conn(), subscribe(t, s.Conn(), "news")
	l.Delay(math.MaxInt64)
	publish(t, far, "news", "a", "b")
	publish(t, s.Conn(), "news", "first")
	require.Equal(t, "first", next(t, sub))
	l.Delay(0)
	require.Equal(t, "a", next(t, sub))
	require.Equal(t, "b", next(t, sub))
}

func TestLossIsLatenessInOrder(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	l := s.Link()
	near, far := s.Conn(), l.Conn()
	sub := subscribe(t, near, "news")
	l.Loss(0.1)
	const n = 2_000
	for i := range n {
		publish(t, far, "news", fmt.Sprint(i)) // in batches, as the client flushes them
	}
	for i := range n {
		require.Equal(t, fmt.Sprint(i), next(t, sub))
	}
	rolebustest.Within(t, time.Minute, "an answer that was lost once", func() bool {
		rtt, err := far.RTT()
		return err == nil && rtt >= 200*time.Millisecond
	})
	require.True(t, far.IsConnected())
	require.Zero(t, far.Stats().Reconnects)
}

func TestBusOnABadNetwork(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	l := s.Link()
	l.Delay(20 * time.Millisecond)
	l.Loss(0.02)
	near, far := s.Bus(rolebus.WithRoles("api")), l.Bus(rolebus.WithRoles("db"))
	addRoles(t, near, "web")
	rolebustest.WaitRoles(t, far, near.Name(), "api", "web")
	addRoles(t, far, "cache")
	rolebustest.WaitRoles(t, near, far.Name(), "cache", "db")
}

func TestStallUp(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	l := s.Link()
	near, far := s.Conn(), l.Conn()
	atNear, atFar := subscribe(t, near, "up"), subscribe(t, far, "down")
	other, mute := s.Bus(), l.Bus(rolebus.WithRoles("api"))
	rolebustest.WaitRoles(t, other, mute.Name(), "api")
	rolebustest.WaitRoles(t, mute, other.Name())

	l.StallUp()
	addRoles(t, other, "web")
	rolebustest.WaitRoles(t, mute, other.Name(), "web") // it still hears
	publish(t, far, "up", "late")
	publish(t, near, "down", "heard")
	require.Equal(t, "heard", next(t, atFar))
	logged(t, "gone", func() { rolebustest.WaitRoles(t, other, mute.Name()) })
	rolebustest.Eventually(t, "the lease to be over", func() bool { return mute.LeaseLeft() == 0 })
	requireNothing(t, atNear)
	l.StallUp()

	l.Mend()
	logged(t, "back", func() { rolebustest.WaitRoles(t, other, mute.Name(), "api") })
	require.Equal(t, "late", next(t, atNear))
}

func TestStallDown(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	l := s.Link()
	near, far := s.Conn(), l.Conn()
	atNear, atFar := subscribe(t, near, "up"), subscribe(t, far, "down")
	other, deaf := s.Bus(), l.Bus(rolebus.WithRoles("api"))
	rolebustest.WaitRoles(t, other, deaf.Name(), "api")
	rolebustest.WaitRoles(t, deaf, other.Name())
	roles := make(chan []rolebus.Role, 100)
	go func() {
		for range other.Watch(context.Background()) { // until the bus is closed
			select {
			case roles <- other.Roles(deaf.Name()).Slice():
			default:
			}
		}
	}()

	l.StallDown()
	ctx, cancel := context.WithCancel(t.Context())
	var call sync.WaitGroup
	var err error
	call.Go(func() { err = deaf.AddRoles(ctx, "db") })
	rolebustest.Eventually(t, "the change that it made", func() bool { return len(<-roles) == 2 })
	publish(t, near, "down", "late")
	publish(t, far, "up", "heard")
	require.Equal(t, "heard", next(t, atNear))
	addRoles(t, other, "web")
	logged(t, "gone", func() { rolebustest.WaitRoles(t, other, deaf.Name()) })
	require.Empty(t, deaf.Roles(other.Name()).Slice(), "it heard")
	requireNothing(t, atFar)
	cancel()
	call.Wait()
	require.ErrorIs(t, err, rolebus.ErrNotConfirmed)

	l.Mend()
	logged(t, "back", func() { rolebustest.WaitRoles(t, other, deaf.Name(), "api", "db") })
	rolebustest.WaitRoles(t, deaf, other.Name(), "web")
	require.Equal(t, "late", next(t, atFar))
}

// Delay and Loss are not taken back by Mend, nor by a cut.
func TestMendLeavesDelayAndLoss(t *testing.T) {
	t.Parallel()
	const d = 30 * time.Millisecond
	l := rolebustest.NewServer(t).Link()
	l.Delay(d)
	l.Cut()
	l.StallUp()
	l.Mend()
	rtt, err := l.Conn().RTT()
	require.NoError(t, err)
	require.GreaterOrEqual(t, rtt, 2*d)
}

func TestBadNetworksThatCannotBe(t *testing.T) {
	for want, f := range map[string]func(*rolebustest.Link){
		"rolebustest: link to server-1: a delay of -1ns: must not be negative":              func(l *rolebustest.Link) { l.Delay(-1) },
		"rolebustest: link to server-1: a loss of -0.1: must be at least 0 and less than 1": func(l *rolebustest.Link) { l.Loss(-0.1) },
		"rolebustest: link to server-1: a loss of 1: must be at least 0 and less than 1":    func(l *rolebustest.Link) { l.Loss(1) },
		"rolebustest: link to server-1: a loss of NaN: must be at least 0 and less than 1":  func(l *rolebustest.Link) { l.Loss(math.NaN()) },
		"rolebustest: link to server-1: a loss of +Inf: must be at least 0 and less than 1": func(l *rolebustest.Link) { l.Loss(math.Inf(1)) },
	} {
		said := failure(func(t *standIn) {
			l := rolebustest.NewServer(t).Link()
			f(l)
			l.Conn() // as if it had not been asked
		})
		require.Equal(t, want, said)
	}
}

// Whatever was done to links: when it is taken back, all buses see each other, with what they became meanwhile.
func TestLinksUnderFaults(t *testing.T) {
	t.Parallel()
	for range 2 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			s := rolebustest.NewServer(t)
			var links []*rolebustest.Link
			var buses []*rolebus.Bus
			for range 3 {
				l := s.Link()
				links, buses = append(links, l), append(buses, l.Bus())
			}
			wanted := map[int]rolebus.Role{}
			for i := range 40 {
				fault(random, links[random.IntN(len(links))])
				if random.IntN(4) == 0 {
					n := random.IntN(len(buses))
					wanted[n] = rolebus.Role(fmt.Sprint("role-", i))
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
					_ = buses[n].SetRoles(ctx, wanted[n]) // it is kept, confirmed or not
					cancel()
				}
				time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond) // something is under way again
			}
			for _, l := range links {
				l.Mend()
				l.Delay(0)
				l.Loss(0)
			}
			for n, role := range wanted {
				for _, b := range buses {
					rolebustest.WaitRoles(t, b, buses[n].Name(), role)
				}
			}
		})
	}
}

func fault(random *rand.Rand, l *rolebustest.Link) {
	switch random.IntN(8) {
	case 0:
		l.Cut()
	case 1:
		l.Stall()
	case 2:
		l.StallUp()
	case 3:
		l.StallDown()
	case 4:
		l.Delay(time.Duration(random.IntN(300)) * time.Millisecond)
	case 5:
		l.Loss(random.Float64())
	default:
		l.Mend()
	}
}

func subscribe(t *testing.T, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return sub
}

func publish(t *testing.T, nc *nats.Conn, subject string, messages ...string) {
	t.Helper()
	for _, m := range messages {
		require.NoError(t, nc.Publish(subject, []byte(m)))
	}
}

func next(t *testing.T, sub *nats.Subscription) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	msg, err := sub.NextMsgWithContext(ctx)
	require.NoError(t, err)
	return string(msg.Data)
}

func requireNothing(t *testing.T, sub *nats.Subscription) {
	t.Helper()
	pending, _, err := sub.Pending()
	require.NoError(t, err)
	require.Zero(t, pending)
}
