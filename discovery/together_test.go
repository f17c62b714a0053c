package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/stretchr/testify/require"
)

// hand is a strategy in the hands of a test.
type hand struct {
	name  string
	mu    sync.Mutex
	found []func([]Address, error)
	known [][]Address // announced now
	wrong error       // of Announce
}

func (h *hand) String() string { return h.name }

func (h *hand) Discover(ctx context.Context, found func([]Address, error)) error {
	h.mu.Lock()
	h.found = append(h.found, found)
	h.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (h *hand) tell(err error, list ...Address) {
	h.mu.Lock()
	all := h.found
	h.mu.Unlock()
	for _, found := range all {
		found(list, err)
	}
}

// teacher is a hand that announces.
type teacher struct{ *hand }

func (h teacher) Announce(ctx context.Context, list []Address) error {
	if h.wrong != nil {
		return h.wrong
	}
	h.mu.Lock()
	h.known = append(h.known, list)
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = h.known[:len(h.known)-1]
	return nil
}

// hears uses a strategy in a bubble.
type hears struct {
	mu   sync.Mutex
	told []string
}

func hear(t *testing.T, s Strategy) *hears {
	t.Helper()
	h := &hears{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Discover(ctx, func(list []Address, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			text := ""
			for _, a := range list {
				text += a.Host
			}
			if err != nil {
				text = "!" + err.Error()
			}
			h.told = append(h.told, text)
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

// take returns what was told since the last time.
func (h *hears) take() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.told
	h.told = nil
	return told
}

func TestAnAddressGoesWhenNobodyListsItAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y, z := &hand{name: "x"}, &hand{name: "y"}, &hand{name: "z"}
		a, b, c := Address{Host: "a"}, Address{Host: "b"}, Address{Host: "c"}
		h := hear(t, Combine(x, Combine(y, z)))
		require.Empty(t, h.take())
		y.tell(nil, b)
		require.Equal(t, []string{"b"}, h.take())
		x.tell(nil, a, b)
		require.Equal(t, []string{"ab"}, h.take(), "in the order of the strategies")
		y.tell(nil, c)
		require.Equal(t, []string{"abc"}, h.take(), "x lists b still")
		x.tell(errors.New("half"), c)
		require.Equal(t, []string{"cab", "!x: half"}, h.take())
		x.tell(nil, a)
		require.Equal(t, []string{"ac"}, h.take())
		x.tell(errors.New("down"))
		y.tell(errors.New("down, too"))
		require.Equal(t, []string{"!x: down", "!Combine: y, z: y: down, too"}, h.take(), "it takes nothing away")
		z.tell(nil)
		require.Equal(t, []string{"!Combine: y, z: z: it lists no address"}, h.take())
		x.tell(nil, a)
		require.Equal(t, []string{"ac"}, h.take(), "it works again")
		x.tell(nil, a)
		require.Empty(t, h.take(), "there is nothing new")
	})
}

func TestWhatIsWrongWithOneIsWrongWithAll(t *testing.T) {
	err := Combine(nil, Static(nil), Static([]string{"a"}), With(nil), Func(nil), (*hand)(nil)).(interface{ Err() error }).Err()
	for _, part := range []string{"strategy 1 is nil", "no addresses: leave the strategy out", "With: the strategy is nil"} {
		require.ErrorContains(t, err, part)
	}
	require.ErrorContains(t, Combine().Discover(t.Context(), nil), "no strategies")
	require.Contains(t, fmt.Sprint(Combine((*hand)(nil))), "*discovery.hand", "whose String panics")
	_, announces := Combine(&hand{}).(Announcer)
	require.False(t, announces)
	_, announces = Combine(&hand{}, Combine(teacher{&hand{}})).(Announcer)
	require.True(t, announces)
	_, announces = With(&hand{}).(Announcer)
	require.False(t, announces)
}

func TestAllThatCanAnnounceDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y, z := teacher{&hand{name: "x"}}, teacher{&hand{name: "y", wrong: errors.New("no network")}}, teacher{&hand{name: "z"}}
		rec := &events{}
		s := With(Combine(x, y, &hand{}, z), WithHooks(rec), Name("all"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.(Announcer).Announce(ctx, []Address{addressA}) }()
		synctest.Wait()
		require.Equal(t, [][]Address{{addressA}}, x.known)
		require.Equal(t, [][]Address{{addressA}}, z.known)
		require.Empty(t, rec.take(), "not before it is so")
		time.Sleep(time.Second)
		require.Equal(t, []string{"announced all [nats://a:4222] <nil>"}, rec.take())
		cancel()
		require.EqualError(t, <-done, "y: no network", "one that cannot keeps the others from nothing")
		require.Empty(t, x.known)
		require.Empty(t, z.known)
		require.Equal(t, []string{"announced all [nats://a:4222] y: no network", "failed all other y: no network 1"}, rec.take())

		s = With(y, WithHooks(rec), Name("y"))
		require.EqualError(t, s.(Announcer).Announce(t.Context(), []Address{addressA}), "no network")
		require.Equal(t, []string{"announced y [nats://a:4222] no network", "failed y other no network 1"}, rec.take(), "and never that it went well")
		require.ErrorContains(t, s.(Announcer).Announce(t.Context(), nil), "no address to announce")
		require.ErrorContains(t, s.(Announcer).Announce(t.Context(), []Address{{}}), "it has no host")
	})
}

// brute announces as it should not.
type brute struct {
	*hand
	announce func(ctx context.Context) error
}

func (b brute) Announce(ctx context.Context, _ []Address) error { return b.announce(ctx) }

func TestWhoAnnouncesBadlyIsSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		defer close(free)
		good := teacher{&hand{name: "good"}}
		s := Combine(good,
			brute{&hand{name: "panics"}, func(context.Context) error { panic("oops") }},
			brute{&hand{name: "stays"}, func(context.Context) error { <-free; return nil }},
			brute{&hand{name: "nil"}, func(context.Context) error { return (*Failure)(nil) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.(Announcer).Announce(ctx, []Address{addressA}) }()
		synctest.Wait()
		require.Len(t, good.known, 1)
		began := time.Now()
		cancel()
		err := <-done
		require.LessOrEqual(t, time.Since(began), time.Second)
		for _, part := range []string{"panics: panic: oops", "stays: announce: it does not end", "nil: an error of type *discovery.Failure"} {
			require.ErrorContains(t, err, part)
		}
	})
}

// events are what a hook heard.
type events struct {
	mu   sync.Mutex
	told []string
	hold chan struct{} // not nil: the first event waits for it
}

func (e *events) add(format string, args ...any) {
	if e.hold != nil {
		<-e.hold
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, fmt.Sprintf(format, args...))
}

func (e *events) take() []string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	told := e.told
	e.told = nil
	return told
}

func (e *events) OnFound(i FoundInfo) { e.add("found %s %v", i.Strategy, i.Address) }
func (e *events) OnGone(i GoneInfo)   { e.add("gone %s %v", i.Strategy, i.Address) }
func (e *events) OnLookup(i LookupInfo) {
	e.add("lookup %s %v %d %v", i.Strategy, i.Took, i.Addresses, i.Err)
}
func (e *events) OnFailed(i FailedInfo) {
	e.add("failed %s %s %v %d", i.Strategy, i.Reason, i.Err, i.InARow)
}
func (e *events) OnMissed(i rolebus.MissedInfo) { e.add("missed %d", i.Events) }
func (e *events) OnAnnounced(i AnnouncedInfo) {
	e.add("announced %s %v %v", i.Strategy, i.Addresses, i.Err)
}

// Each event once, in order; what comes and goes exactly.
func TestHooksHearWhatAStrategyDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &events{}
		says := [][]answer{
			one(addressA, addressB, addressA), one(addressB, Address{Host: "c"}), fails(errDown), fails(errDown), one(), one(Address{Host: "c"}, addressB), {{addresses: []Address{addressA}, err: errDown}},
		}
		o := collect([]Option{WithHooks(rec), Name("me"), Interval(time.Second), MaxBackoff(time.Second)}, forPolls)
		var calls atomic.Int32
		s := made("", "", o, o.polling(func(context.Context) []answer {
			time.Sleep(time.Millisecond)
			if call := int(calls.Add(1)); call <= len(says) {
				return says[call-1]
			}
			return says[5]
		}))
		hear(t, s)
		for int(calls.Load()) <= len(says) {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		all := rec.take()
		down, empty := "test: down", "it lists no address"
		require.Equal(t, []string{
			"lookup me 1ms 3 <nil>", "found me nats://a:4222", "found me nats://b:4222",
			"lookup me 1ms 2 <nil>", "found me nats://c:4222", "gone me nats://a:4222",
			"lookup me 1ms 0 " + down, "failed me unavailable " + down + " 1",
			"lookup me 1ms 0 " + down, "failed me unavailable " + down + " 2",
			"lookup me 1ms 0 " + empty, "failed me empty " + empty + " 3",
			"lookup me 1ms 2 <nil>",
			"lookup me 1ms 1 " + down, "found me nats://a:4222", "failed me unavailable " + down + " 1",
			"lookup me 1ms 2 <nil>", "gone me nats://a:4222",
		}, all)
	})
}

func TestASlowHookMissesAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &events{hold: make(chan struct{})}
		x := &hand{name: "x"}
		h := hear(t, With(x, WithHooks(rec)))
		synctest.Wait()
		for i := range 2000 {
			x.tell(nil, Address{Host: fmt.Sprint("n", i)})
		}
		require.Len(t, h.take(), 2000, "nobody waits for a hook")
		close(rec.hold)
		told := rec.take()
		require.Contains(t, told[len(told)-1], "missed ")
		require.Less(t, len(told), 1100)
	})
}

// An option is taken by those that it is for, and told by the others, all mistakes in one error.
func TestEachOptionIsForSome(t *testing.T) {
	options := map[string]Option{
		"Name": Name("x"), "WithHooks": WithHooks(&events{}), "WithLogger": WithLogger(nil),
		"Interval": Interval(time.Second), "Timeout": Timeout(time.Second), "MaxBackoff": MaxBackoff(time.Second),
		"Port": Port(1), "Scheme": Scheme("tls"), "Routes": Routes(), "Cluster": Cluster("c"), "TLSName": TLSName("n"),
	}
	all, shape, polls := "Name WithHooks WithLogger ", "Port Scheme Routes Cluster TLSName ", "Interval Timeout MaxBackoff "
	for name, tc := range map[string]struct {
		takes string
		make  func(o ...Option) Strategy
	}{
		"Static": {all + shape, func(o ...Option) Strategy { return Static([]string{"a"}, o...) }},
		"Poll": {all + shape + polls, func(o ...Option) Strategy {
			return Poll("p", func(context.Context) ([]Address, error) { return nil, nil }, o...)
		}},
		"With": {all, func(o ...Option) Strategy { return With(&hand{name: "hand"}, o...) }},
	} {
		for option, given := range options {
			err := tc.make(given, given).(interface{ Err() error }).Err()
			if strings.Contains(tc.takes, option+" ") {
				require.NoError(t, err, "%s %s", name, option)
			} else {
				require.ErrorContains(t, err, "it does not take "+option+"; it takes ", name)
			}
		}
	}
	for says, option := range map[string]Option{
		"Interval 9ms: at least 10ms, at most 24h": Interval(9 * time.Millisecond), "Interval 24h0m0.001s": Interval(24*time.Hour + time.Millisecond),
		"Timeout -1s": Timeout(-time.Second), "MaxBackoff 0s": MaxBackoff(0),
		"Port 0: 1 to 65535": Port(0), "Port 65536": Port(65536), `unknown scheme "nats-route"`: Scheme("nats-route"), `TLS name "a b"`: TLSName("a b"),
		"Name: it is empty": Name(""), "hook 1 is nil": WithHooks(nil), "hook 2, a struct {}, has the method of no event": WithHooks(&events{}, struct{}{}),
		"option 1 is nil": nil,
	} {
		s := Poll("p", func(context.Context) ([]Address, error) { return nil, nil }, option)
		require.ErrorContains(t, s.Discover(t.Context(), nil), says)
	}
	s := Static([]string{"a", "tls://b:1", "nats-route://c"}, Port(7), Port(8), Scheme("tls"), Routes(), Cluster("east"), TLSName("n"), WithLogger(slog.New(slog.DiscardHandler)))
	var told []Address
	require.NoError(t, s.Discover(t.Context(), func(list []Address, _ error) { told = list }))
	require.Equal(t, []Address{
		{Host: "a", Port: 8, Scheme: "tls", Route: true, Cluster: "east", TLSName: "n"},
		{Host: "b", Port: 1, Scheme: "tls", Route: true, Cluster: "east", TLSName: "n"},
		{Host: "c", Port: 8, Scheme: "nats-route", Route: true, Cluster: "east", TLSName: "n"},
	}, told, "the last one counts; what the source says stays")
	require.ErrorContains(t, Static([]string{"a b", "c:0"}).Discover(t.Context(), nil), "c:0", "all that is wrong")
}

func TestReasons(t *testing.T) {
	for status, want := range map[int]Reason{401: ReasonUnauthorized, 403: ReasonForbidden, 404: ReasonNotFound, 408: ReasonTimeout, 410: ReasonGone, 429: ReasonThrottled, 500: ReasonUnavailable, 503: ReasonUnavailable, 504: ReasonTimeout, 302: ReasonOther, 418: ReasonOther} {
		require.Equal(t, want, ReasonOfStatus(status), status)
	}
	require.Equal(t, ReasonOther, ReasonOf((*Failure)(nil)))
	require.Equal(t, ReasonGone, ReasonOf(fmt.Errorf("x: %w", &Failure{Reason: ReasonGone})))
	require.Equal(t, ReasonTimeout, ReasonOf(context.DeadlineExceeded))
	require.Equal(t, "src: no (do it)", (&Failure{Source: "src", Err: errors.New("no"), Mend: "do it"}).Error())
	require.Equal(t, "empty", (&Failure{Reason: ReasonEmpty}).Error())
}
