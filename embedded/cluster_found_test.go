package embedded_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

// What discovery shows, and does, beside what it should.

// chain starts n processes without announcements: each is shown what shows says, of the ports of all.
func chain(t *testing.T, n int, shows func(i int, ports []int) rolebus.Strategy) []*process {
	t.Helper()
	ports := freePorts(t, n)
	var all []*process
	t.Cleanup(func() { closeAll(all...) })
	for i := range n {
		all = append(all, begin(t, shows(i, ports), embedded.WithName("p"+string(rune('0'+i))), embedded.WithClusterPort(ports[i])))
	}
	return all
}

func oneCluster(t *testing.T, all []*process) {
	t.Helper()
	for _, p := range all {
		ready(t, p)
		s := await(t, p, "whole", whole(3))
		require.Equal(t, all[0].State().Cluster, s.Cluster)
		require.Empty(t, p.refusals())
	}
}

func TestDiscoveryThatShowsNextToNothing(t *testing.T) {
	t.Parallel()
	oneCluster(t, chain(t, 4, func(i int, ports []int) rolebus.Strategy {
		if i == 0 {
			return show() // nobody
		}
		return show(at("127.0.0.1", ports[i-1])) // one other
	}))
}

func TestDiscoveryThatShowsOneselfAndStrangers(t *testing.T) {
	t.Parallel()
	dead := freePorts(t, 2)
	all := chain(t, 3, func(i int, ports []int) rolebus.Strategy {
		list := []rolebus.Address{at("127.0.0.1", dead[0]), at("::1", ports[i]), at("127.0.0.1", dead[1])}
		for _, p := range ports { // each twice, by two names, itself among them
			list = append(list, at("localhost", p), at("127.0.0.1", p), at("127.0.0.1", p))
		}
		return show(list...)
	})
	oneCluster(t, all)
	for _, p := range all {
		require.Len(t, p.State().Members, 3)
		require.Empty(t, p.lines("not one of ours"))
	}
}

func TestDiscoveryThatFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("the source is broken")
	all := chain(t, 3, func(i int, ports []int) rolebus.Strategy {
		list := []rolebus.Address{at("127.0.0.1", ports[0]), at("127.0.0.1", ports[1]), at("127.0.0.1", ports[2])}
		switch i {
		case 0: // some, and an error
			s := show()
			s.set(broken, list...)
			return s
		case 1: // ends
			return discovery.Func(func(_ context.Context, found func([]rolebus.Address, error)) error {
				found(list, nil)
				return nil
			})
		}
		return discovery.Func(func(_ context.Context, found func([]rolebus.Address, error)) error {
			found(list, nil)
			panic("of the strategy")
		})
	})
	oneCluster(t, all)
	canary := sing(t, all[0])
	require.Len(t, all[0].lines("the source is broken"), 1)
	require.NotEmpty(t, all[2].lines("of the strategy"))
	canary.end(t)
	for _, p := range all {
		await(t, p, "whole", whole(3))
	}
}

func TestDiscoveryThatShowsNobodyAnyMoreTakesNothingAway(t *testing.T) {
	t.Parallel()
	var shows []*shown
	all := chain(t, 3, func(_ int, ports []int) rolebus.Strategy {
		s := show(at("127.0.0.1", ports[0]), at("127.0.0.1", ports[1]), at("127.0.0.1", ports[2]))
		shows = append(shows, s)
		return s
	})
	oneCluster(t, all)
	canary := sing(t, all[0])
	for i, s := range shows {
		if i == 0 {
			s.set(errors.New("gone"))
			continue
		}
		s.set(nil)
	}
	canary.more(t, 100)
	canary.end(t)
	oneCluster(t, all)
}

// announces is a strategy that makes processes known as a test says.
type announces struct {
	rolebus.Strategy
	announce func(ctx context.Context) error
}

func (a announces) Announce(ctx context.Context, _ []rolebus.Address) error { return a.announce(ctx) }

// Whatever a strategy does to make a process known, it is the strategy's own code: the process goes on, says so, and ends.
func TestAnnouncementsThatFail(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	all := chain(t, 3, func(i int, ports []int) rolebus.Strategy {
		return announces{show(at("127.0.0.1", ports[0]), at("127.0.0.1", ports[1]), at("127.0.0.1", ports[2])), []func(context.Context) error{
			func(context.Context) error { panic("out of paper") },
			func(context.Context) error { return errors.New("nobody reads that") },
			func(context.Context) error { <-released; return nil }, // it does not end with its context
		}[i]}
	})
	oneCluster(t, all)
	for i, text := range []string{"out of paper", "nobody reads that"} {
		until(t, func() bool { return len(all[i].lines(text)) > 0 }, func() string { return text + " is told" })
	}
	closeAll(all...)
	until(t, func() bool { return len(all[2].lines("does not end with its context")) > 0 }, func() string { return "who does not end is told" })
}
