package rolebustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// WaitReady waits until those that run, and are neither frozen nor cut off from most, are whole: they are all ready and know the same
// members, as many as the cluster's size, all of which are there and connected to each other; and each stream has all its replicas, up to
// date. Then any one may fail (of five members, any two). If fewer processes than that are left it waits for those, and does not mind that the dead
// are members still. If it takes more than a minute the test has failed.
//
// It knows which processes run, and never takes one for a member that does not: so it can be called at once after [Process.Kill].
func (f *SelfFormed) WaitReady() {
	f.tb.Helper()
	lacks := ""
	within(f.tb, clusterTimeout, func() bool {
		lacks = f.lacks()
		return lacks == ""
	}, func() string { return "the processes to be ready: " + lacks })
}

// Leader waits until the cluster has a leader, and returns its process: one that the processes which run, and are neither frozen nor cut off
// from most, agree upon. If there is none for a minute the test has failed.
func (f *SelfFormed) Leader() *Process {
	f.tb.Helper()
	var leader *Process
	within(f.tb, clusterTimeout, func() bool {
		leader = f.leader()
		return leader != nil
	}, func() string { return "the processes to have a leader" })
	return leader
}

// LeaderOf waits until a stream has a leader, and returns its process, as [Cluster.LeaderOf] does.
func (f *SelfFormed) LeaderOf(stream string) *Process {
	f.tb.Helper()
	var leader *Process
	within(f.tb, clusterTimeout, func() bool {
		infos, err := f.streams()
		i := slices.IndexFunc(infos, func(info *jetstream.StreamInfo) bool { return info.Config.Name == stream })
		if err != nil || i < 0 {
			return false
		}
		leader = f.of(infos[i].Cluster.Leader)
		return leader != nil
	}, func() string { return fmt.Sprintf("stream %s to have a leader", stream) })
	return leader
}

// together are the processes that run and are not frozen, of that part of a network which has most members, by what they know.
func (f *SelfFormed) together() map[*Process]embedded.ClusterState {
	type part struct {
		states  map[*Process]embedded.ClusterState
		members int
	}
	parts := map[int]*part{}
	for _, p := range f.Processes() {
		group, reached := f.ways.groupOf(p.place)
		cluster := p.running()
		if !reached || cluster == nil {
			continue
		}
		if parts[group] == nil {
			parts[group] = &part{states: map[*Process]embedded.ClusterState{}}
		}
		s := cluster.State()
		parts[group].states[p] = s
		if s.Part == embedded.Member {
			parts[group].members++
		}
	}
	best := &part{}
	for _, p := range parts {
		if p.members > best.members || p.members == best.members && len(p.states) > len(best.states) {
			best = p
		}
	}
	return best.states
}

// lacks says what they still lack, "" if nothing.
func (f *SelfFormed) lacks() string {
	states := f.together()
	want := min(f.size, len(states))
	names := map[string]bool{}
	for p := range states {
		names[p.name] = true
	}
	var lacks []string
	servers := ""
	for p, s := range states {
		var live, unrouted []string
		dead := 0
		for _, m := range s.Members {
			if m.Live && names[m.Name] && m.Part == embedded.Member {
				live = append(live, m.Server)
				if s.Part == embedded.Member && !m.Routed {
					unrouted = append(unrouted, m.Server)
				}
			} else {
				dead++
			}
		}
		text := s.Cluster + " " + s.Leader + " " + strings.Join(live, " ")
		if servers == "" {
			servers = text
		}
		switch {
		case !s.Ready:
			lacks = append(lacks, fmt.Sprintf("%s is %s, and waits for %s", p.name, s.Part, s.Waiting))
		case len(live) != want:
			lacks = append(lacks, fmt.Sprintf("%s knows the live members %v", p.name, live))
		case want == f.size && dead > 0:
			lacks = append(lacks, fmt.Sprintf("to %s %d dead ones are members", p.name, dead))
		case len(unrouted) > 0:
			lacks = append(lacks, fmt.Sprintf("the server of %s is not connected to %v", p.name, unrouted))
		case s.Leader == "" || text != servers:
			lacks = append(lacks, fmt.Sprintf("to %s %q leads %v", p.name, s.Leader, live))
		}
	}
	if want == 0 {
		lacks = append(lacks, "none can be reached")
	}
	if len(lacks) == 0 {
		return f.behind(want)
	}
	slices.Sort(lacks)
	return strings.Join(lacks, "; ")
}

// behind says which streams are not as they should be, "" if all are.
func (f *SelfFormed) behind(servers int) string {
	infos, err := f.streams()
	if errors.Is(err, nats.ErrAuthorization) {
		return "" // whoever has asked for users looks after streams, and each member has said that its own are up to date
	}
	if err != nil {
		return fmt.Sprintf("streams: %v", err)
	}
	var behind []string
	for _, info := range infos {
		have := 0
		if info.Cluster != nil && info.Cluster.Leader != "" {
			have = 1
			for _, r := range info.Cluster.Replicas {
				if r.Current && !r.Offline {
					have++
				}
			}
		}
		if have < min(info.Config.Replicas, servers) {
			behind = append(behind, fmt.Sprintf("of stream %s are %d of %d replicas up to date", info.Config.Name, have, info.Config.Replicas))
		}
	}
	return strings.Join(behind, "; ")
}

// streams asks the cluster for its streams.
func (f *SelfFormed) streams() ([]*jetstream.StreamInfo, error) {
	nc, err := nats.Connect(f.URL(), nats.SetCustomDialer(dialer{f.ways, outside}), nats.Timeout(askPatience), nats.NoReconnect())
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(f.tb.Context(), askPatience)
	defer cancel()
	list := js.ListStreams(ctx)
	var infos []*jetstream.StreamInfo
	for info := range list.Info() {
		infos = append(infos, info)
	}
	return infos, list.Err()
}

const askPatience = 2 * time.Second

// leader is the process that those which are together take for the leader, nil if there is none.
func (f *SelfFormed) leader() *Process {
	var leader *Process
	for _, s := range f.together() {
		p := f.of(s.Leader)
		if p == nil || leader != nil && p != leader {
			return nil
		}
		leader = p
	}
	return leader
}

// of returns the process of a server, of those that are together; nil if there is none.
func (f *SelfFormed) of(server string) *Process {
	for p, s := range f.together() {
		for _, m := range s.Members {
			if server != "" && m.Server == server && m.Name == p.name {
				return p
			}
		}
	}
	return nil
}

// urls are those of the members of the processes that are together.
func (f *SelfFormed) urls() []string {
	var urls []string
	for _, s := range f.together() {
		for _, m := range s.Members {
			if m.Live && m.URL != "" {
				urls = append(urls, m.URL)
			}
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// found finds the members, for clients that are of no process.
func (f *SelfFormed) found() rolebus.Strategy {
	return strategy(func(ctx context.Context, found func([]rolebus.Address, error)) error {
		tick := time.NewTicker(findEvery)
		defer tick.Stop()
		var told []string
		for {
			if urls := f.urls(); len(urls) > 0 && !slices.Equal(urls, told) {
				told = urls
				var list []rolebus.Address
				for _, u := range urls {
					if a, err := rolebus.ParseAddress(u); err == nil {
						list = append(list, a)
					}
				}
				found(list, nil)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

const findEvery = 50 * time.Millisecond
