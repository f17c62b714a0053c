package embedded

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// running is a member's server.
type running struct {
	ns     *server.Server
	o      *server.Options
	system *nats.Conn // of the system account, inside the process
	log    *serverLog

	sick    []string // what is not well with it, when it was looked at last
	looked  time.Time
	lasting lasting
	reached string // the leader that has answered
}

const (
	systemAccount  = server.DEFAULT_SYSTEM_ACCOUNT
	systemPatience = 2 * time.Second
	deadAfter      = 3 * time.Second // without a sign of life among the servers
	healthEvery    = 5 * time.Second
	reachPatience  = 250 * time.Millisecond
)

// place is where a member's server has its place in the cluster.
type place struct {
	cluster, server string
	dir             string
	clientPort      int
	routePort       int
	routes          []*url.URL
}

// startMember runs a server that is one of a cluster.
func startMember(cfg *config, p place, auth *routeAuth) (*running, error) {
	o, err := memberOptions(cfg, p, auth)
	if err != nil {
		return nil, err
	}
	own, err := systemUser(o)
	if err != nil {
		return nil, err
	}
	log := newServerLog(cfg.log)
	log.quiet = true
	inOrder(o)
	ns, err := run(o, log)
	if err != nil {
		return nil, err
	}
	if custom, ok := o.CustomClientAuthentication.(*orOwn); ok {
		custom.ns.Store(ns)
	}
	system, err := nats.Connect("", nats.InProcessServer(ns), own, nats.Name("rolebus cluster"),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.Timeout(readyTimeout))
	if err != nil {
		stop(ns)
		log.end()
		return nil, fmt.Errorf("system account: %w", err)
	}
	return &running{ns: ns, o: o, system: system, log: log}, nil
}

// tryOptions says what is wrong with what users asked for, before a server is needed.
func tryOptions(cfg *config, p place, auth *routeAuth) error {
	o, err := memberOptions(cfg, p, auth)
	if err != nil {
		return err
	}
	if _, err := systemUser(o); err != nil {
		return err
	}
	log := newServerLog(cfg.log)
	log.conceal(secretsOf(o))
	ns, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("server options: %w", log.clean(err))
	}
	stop(ns) // it has never run
	return nil
}

// memberOptions are what users asked for, and on top of it what makes the server one of the cluster.
func memberOptions(cfg *config, p place, auth *routeAuth) (*server.Options, error) {
	o, given := cfg.serverOptions(), cfg.ownOptions()
	routing := o.Cluster // what clients, and other servers, are told of this one may be chosen: it changes nothing among the processes
	routing.Advertise, routing.NoAdvertise = "", false
	err := errors.Join(
		check(reflect.DeepEqual(routing, server.ClusterOpts{}) && len(o.Routes) == 0,
			"server options: Cluster and Routes are made by the cluster itself: leave them empty, but for Cluster.Advertise and NoAdvertise"),
		check(o.ServerName == cfg.name, "server options: ServerName: give WithName"),
		check(o.Host == cfg.host, "server options: Host: give WithHost"),
		check(o.Port == given.Port, "server options: Port: give WithPort"),
		check(o.StoreDir == cfg.storeDir, "server options: StoreDir: give WithStoreDir"),
		check(!o.DontListen, "server options: DontListen: members are there for clients"),
		check(o.JetStream, "server options: JetStream must stay on"),
		check(!o.NoSystemAccount && len(o.TrustedOperators) == 0 && len(o.TrustedKeys) == 0 && o.AccountResolver == nil,
			"server options: a cluster needs a system account that it can use: operators and NoSystemAccount are not for it; run nats-servers beside it for these"),
	)
	if err != nil {
		return nil, err
	}
	o.ServerName, o.StoreDir, o.Port = p.server, p.dir, p.clientPort
	o.Cluster.Name, o.Cluster.Host, o.Cluster.Port = p.cluster, o.Host, p.routePort
	o.Cluster.PoolSize = -1 // one connection for each other server: four would be the default
	o.Routes = p.routes
	if cfg.cluster.advertise != "" && cfg.cluster.advertise != o.Host {
		o.Cluster.Advertise = net.JoinHostPort(cfg.cluster.advertise, strconv.Itoa(p.routePort))
		o.ClientAdvertise = net.JoinHostPort(cfg.cluster.advertise, strconv.Itoa(p.clientPort))
	}
	auth.set(o)
	return o, nil
}

// isDead says whether a server is, as the leader sees it, who hears of each once in a second. That it is offline is known after a minute or two. That
// it is current says no more than that it has nothing to catch up with: where nothing happens a dead one is, for ten seconds. Of whom a new leader has
// not heard at all it knows the time neither.
func isDead(p *server.PeerInfo) bool {
	return p.Offline || p.Active > deadAfter || p.Active == 0 && !p.Current
}

// status asks the server how it is. Others are the servers that are to be connected to it.
func (r *running) status(leaving bool, others []string) status {
	if !r.ns.Running() {
		return status{problem: "its server, which has stopped: see its log"}
	}
	s := status{running: true, off: !r.ns.JetStreamEnabled(), leads: r.ns.JetStreamIsLeader(), applied: r.ns.JetStreamIsCurrent()}
	if routes, err := r.ns.Routez(nil); err == nil {
		for _, route := range routes.Routes {
			s.routed = append(s.routed, route.RemoteName)
		}
		slices.Sort(s.routed)
		s.routed = slices.Compact(s.routed)
	}
	info, err := r.ns.Jsz(nil)
	if err != nil || info.Meta == nil {
		return s
	}
	s.leader, s.streams = info.Meta.Leader, info.Streams
	if s.leads {
		s.term = r.term()
	}
	if leaving && s.streams > 0 {
		s.sole = r.sole()
	}
	s.peers = []peer{{name: r.ns.Name(), live: true}}
	for _, p := range info.Meta.Replicas {
		if p.Peer == r.ns.Node() {
			continue // without a leader, a server has itself among the others
		}
		s.peers = append(s.peers, peer{name: p.Name, id: p.Peer, live: !isDead(p)})
	}
	slices.SortFunc(s.peers, func(a, b peer) int { return cmp.Compare(a.name, b.name) })
	now := time.Now()
	s.ready = s.leader != "" && !r.lasting.lacks(now, r.lacks(now, s, others)) && r.reaches(s.leader)
	return s
}

// term is the term of the servers' election.
func (r *running) term() uint64 {
	if groups := r.ns.Raftz(&server.RaftzOptions{GroupFilter: metaGroup}); groups != nil {
		return (*groups)[r.ns.SystemAccount().Name][metaGroup].Term
	}
	return 0
}

const metaGroup = "_meta_" // as nats-server 2.15.2 names it

// sole is how many of its streams no other server has all of, as those of one replica, or where no other can keep up.
func (r *running) sole() int {
	info, err := r.ns.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Limit: math.MaxInt})
	if err != nil {
		return 0
	}
	sole := 0
	for _, account := range info.AccountDetails {
		for _, stream := range account.Streams {
			c := stream.Cluster
			if c != nil && c.Leader == r.ns.Name() && !slices.ContainsFunc(c.Replicas, func(p *server.PeerInfo) bool { return p.Current && !isDead(p) }) {
				sole++
			}
		}
	}
	return sole
}

// lacks is what the server has not yet, or not at this moment.
func (r *running) lacks(now time.Time, s status, others []string) (lacks []string) {
	for _, server := range others {
		if !slices.Contains(s.routed, server) { // clients of the two do not reach each other
			lacks = append(lacks, "route to "+server)
		}
	}
	if !s.applied && !r.lasting.once { // later this is among what its health says, if it does not keep up
		lacks = append(lacks, "the servers' state")
	}
	// To look at its health costs more the more streams there are: of a server that is well, that was a moment ago will do.
	if len(r.sick) > 0 || now.Sub(r.looked) > healthEvery {
		r.sick, r.looked = nil, now
		h := r.ns.Healthz(&server.HealthzOptions{Details: true})
		for _, e := range h.Errors {
			r.sick = append(r.sick, fmt.Sprint(e.Type, " ", e.Account, " ", e.Stream, " ", e.Consumer))
		}
		if len(r.sick) == 0 && h.StatusCode >= 300 {
			r.sick = append(r.sick, h.Error)
		}
	}
	return append(lacks, r.sick...)
}

// reaches says whether the leader has answered: until then it may be known, and not hear what clients ask, who would wait for seconds.
func (r *running) reaches(leader string) bool {
	if leader != r.reached {
		ctx, cancel := context.WithTimeout(context.Background(), reachPatience)
		defer cancel()
		// A request to remove nobody, which it refuses, is the least that only the leader answers.
		if _, err := r.system.RequestWithContext(ctx, server.JSApiRemoveServer, nil); err == nil {
			r.reached = leader
		}
	}
	return leader == r.reached
}

// setRoutes has the server know these routes. Those that it knows already stay connected.
func (r *running) setRoutes(routes []*url.URL, password string) error {
	o := r.o.Clone()
	o.Routes = routes
	o.Cluster.Password = password // for those of whom other servers tell
	r.log.conceal(secretsOf(o))
	if err := r.ns.ReloadOptions(o); err != nil {
		return err
	}
	r.o = o
	return nil
}

// ask asks the cluster's leader to do something.
func (r *running) ask(ctx context.Context, subject string, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, systemPatience)
	defer cancel()
	m, err := r.system.RequestWithContext(ctx, subject, text)
	if err != nil {
		return err
	}
	var answer server.ApiResponse
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}

// remove takes a server out of the cluster. An id is sure, a name may be that of two.
func (r *running) remove(ctx context.Context, name, id string) error {
	if id != "" {
		name = ""
	}
	return r.ask(ctx, server.JSApiRemoveServer, server.JSApiMetaServerRemoveRequest{Server: name, Peer: id})
}

// evacuate has others store what this server stores.
func (r *running) evacuate(ctx context.Context) error {
	return r.ask(ctx, server.JSApiEvacuateServer, server.JSApiMetaServerEvacuateRequest{Server: r.ns.Name()})
}

// stepDown has others lead all that this server leads.
func (r *running) stepDown(ctx context.Context) error {
	var errs []error
	if info, err := r.ns.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Limit: math.MaxInt}); err == nil {
		for _, account := range info.AccountDetails {
			for _, stream := range account.Streams {
				if r.ns.JetStreamIsStreamLeader(account.Id, stream.Name) {
					errs = append(errs, r.ns.JetStreamStepdownStream(account.Id, stream.Name))
				}
			}
		}
	}
	if r.ns.JetStreamIsLeader() {
		errs = append(errs, r.ask(ctx, server.JSApiLeaderStepDown, struct{}{}))
	}
	return errors.Join(errs...)
}

// leads says whether the server leads anything.
func (r *running) leads() bool {
	info, err := r.ns.Jsz(&server.JSzOptions{RaftGroups: true})
	return r.ns.JetStreamIsLeader() || err == nil && info.StreamsLeader+info.ConsumersLeader > 0
}

func (r *running) stop() {
	r.system.Close()
	stop(r.ns)
	r.log.end()
}

// rest lets others lead, and waits until they do, for a moment: then nobody waits for an election when the server stops.
func (r *running) rest(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, restPatience)
	defer cancel()
	if err := r.stepDown(ctx); err != nil {
		log.Debug("stepping down", "error", err)
	}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for r.leads() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

const restPatience = time.Second
