package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rolebus/rolebus/internal/sysevents"
)

// natsServer is what a process of kind server does: it runs one nats-server.
type natsServer struct {
	ns  *server.Server
	dir string
}

const loopback = "127.0.0.1"

const (
	doStart = "start the server"
	doReady = "tell whether the server is ready"
	doCount = "count messages"
)

// startOrder makes a server a member of a cluster, if it has routes.
type startOrder struct {
	Name   string   `json:"name"`
	Dir    string   `json:"dir"`    // for what it stores; removed at the end
	Port   int      `json:"port"`   // where it listens for the other servers
	Routes []string `json:"routes"` // where all of them do, itself included
}

type started struct {
	URL string `json:"url"`
}

type readiness struct {
	Leads bool   `json:"leads"` // the cluster's JetStream
	Knows int    `json:"knows"` // so many servers, the leader
	Ill   string `json:"ill"`
}

// counts are of messages since the server's start.
type counts struct {
	At     time.Time `json:"at"`
	In     int64     `json:"in"`  // from clients
	Out    int64     `json:"out"` // to clients
	Stored uint64    `json:"stored"`
}

func (s *natsServer) duties() map[string]duty {
	return map[string]duty{doStart: doing(s.start), doReady: doing(s.ready), doCount: doing(s.count)}
}

func (s *natsServer) start(ctx context.Context, o startOrder) (started, error) {
	s.dir = o.Dir
	options := &server.Options{
		ServerName: o.Name, Host: loopback, Port: server.RANDOM_PORT, JetStream: true, StoreDir: o.Dir, NoSigs: true,
		DisableJetStreamBanner: true,
	}
	if len(o.Routes) > 0 {
		options.Cluster = server.ClusterOpts{Name: "fleet", Host: loopback, Port: o.Port}
		for _, route := range o.Routes {
			u, err := url.Parse(route)
			if err != nil {
				return started{}, err
			}
			options.Routes = append(options.Routes, u)
		}
	}
	ns, err := server.NewServer(options)
	if err != nil {
		return started{}, err
	}
	s.ns = ns
	sysevents.Import(ns, options)
	fatal := make(fatals, 1)
	ns.SetLoggerV2(fatal, false, false, false)
	ns.Start()
	err = until(ctx, func() bool { return len(fatal) > 0 || ns.ReadyForConnections(50*time.Millisecond) })
	if len(fatal) > 0 {
		err = <-fatal
	}
	return started{ns.ClientURL()}, err
}

// fatals is nats-server's logger. It is also the only place where the server says why it cannot start: it calls Fatalf, and
// carries on when that returns.
type fatals chan error

func (fatals) Noticef(string, ...any) {}
func (fatals) Warnf(string, ...any)   {}
func (fatals) Errorf(string, ...any)  {}
func (fatals) Debugf(string, ...any)  {}
func (fatals) Tracef(string, ...any)  {}
func (f fatals) Fatalf(format string, args ...any) {
	select {
	case f <- fmt.Errorf("nats-server: "+format, args...):
	default: // later ones follow from the first
	}
}

func (s *natsServer) ready(context.Context, none) (readiness, error) {
	r := readiness{Leads: s.ns.JetStreamIsLeader(), Knows: len(s.ns.JetStreamClusterPeers())}
	if h := s.ns.Healthz(&server.HealthzOptions{}); h.Error != "" {
		r.Ill = h.Error
	}
	return r, nil
}

// count reads what monitoring would tell, within the process: so that asking costs no messages.
func (s *natsServer) count(context.Context, none) (counts, error) {
	v, err := s.ns.Varz(nil)
	if err != nil {
		return counts{}, err
	}
	c := counts{At: time.Now(), In: v.InClientMsgs, Out: v.OutClientMsgs}
	js, err := s.ns.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return counts{}, err
	}
	for _, account := range js.AccountDetails {
		for _, stream := range account.Streams {
			c.Stored += stream.State.LastSeq
		}
	}
	return c, nil
}

func (s *natsServer) stop() {
	if s.ns != nil {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
	}
	if s.dir != "" {
		if err := os.RemoveAll(s.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(os.Stderr, "fleet: server:", err)
		}
	}
}
