//go:build linux

package chaos_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rolebus/rolebus/internal/children"
)

// serverConfig is what a server process is told.
type serverConfig struct {
	Name, Dir, Log string
	Port, Cluster  int
	Routes         []string // by which it reaches all, itself included: their number tells it what a majority is
}

// nowhere is where a server tells the others that it is: they are to reach it by their links only.
const nowhere = "127.0.0.1:1"

// runServer is the main function of a server process.
func runServer(in *bufio.Reader) error {
	var cfg serverConfig
	if err := children.ReadLine(in, &cfg); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: cfg.Name, Host: "127.0.0.1", Port: cfg.Port, JetStream: true, StoreDir: cfg.Dir, NoSigs: true,
		LogFile: cfg.Log, LogSizeLimit: 16 << 20, LogMaxFiles: 2, Logtime: true,
		LameDuckGracePeriod: 300 * time.Millisecond, LameDuckDuration: time.Second,
		JetStreamMaxMemory: 256 << 20, JetStreamMaxStore: maxStore,
		Cluster: server.ClusterOpts{
			Name: "chaos", Host: "127.0.0.1", Port: cfg.Cluster, Advertise: nowhere, NoAdvertise: true,
		},
	}
	for _, route := range cfg.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: route})
	}
	asConfigured := o.Clone()
	srv, err := server.NewServer(o)
	if err != nil {
		return err
	}
	srv.ConfigureLogger()
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		return fmt.Errorf("not ready for connections after 30 s")
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(record{Kind: joined, At: now()}); err != nil {
		return err
	}
	for {
		var o order
		if err := children.ReadLine(in, &o); err != nil {
			return nil // the controller is gone, or done
		}
		answer, changed := record{Kind: answered, Call: o.Call}, asConfigured.Clone()
		var err error
		switch o.Op {
		case opStats:
			answer.Stats = measure()
			answer.Stats.Subscriptions = int(srv.NumSubscriptions())
		case opLimit:
			err = allow(srv, o.Limit)
		case opPayload:
			changed.MaxPayload = int32(o.Limit)
			err = srv.ReloadOptions(changed)
		case opLameDuck:
			go srv.LameDuckShutdown()
		case opConnections:
			changed.MaxConn = int(o.Limit)
			err = srv.ReloadOptions(changed)
		}
		if err != nil {
			answer.Text = err.Error()
		}
		answer.At = now()
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
}

// allow lets the account store so many bytes, as many as the server has if that is 0.
func allow(srv *server.Server, bytes int64) error {
	if bytes == 0 {
		return srv.GlobalAccount().UpdateJetStreamLimits(nil)
	}
	return srv.GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: bytes, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1,
	}})
}

// stats is what a process uses.
type stats struct {
	Heap          uint64 `json:"heap"` // bytes, after a collection
	Goroutines    int    `json:"goroutines"`
	Subscriptions int    `json:"subscriptions"`
}

func measure() *stats {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return &stats{Heap: mem.HeapAlloc, Goroutines: runtime.NumGoroutine()}
}

// serverSeat is a server's place in the cluster, whether it runs or not.
type serverSeat struct {
	cfg    serverConfig
	hist   *history
	number func() int
	answer func(record)

	mu   sync.Mutex
	proc *process
	want bool // it is to run
}

func (s *serverSeat) url() string { return fmt.Sprint("nats://127.0.0.1:", s.cfg.Port) }

// start starts the server and returns when clients can connect to it.
func (s *serverSeat) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && s.proc.Running() {
		return nil
	}
	ready := make(chan struct{}, 1)
	number := s.number()
	p, err := startProcess(filepath.Dir(s.cfg.Dir), serverChild, s.cfg, func(line []byte) {
		var r record
		if json.Unmarshal(line, &r) != nil {
			s.hist.add(record{Kind: noted, Proc: number, Name: s.cfg.Name, Text: string(line)})
			return
		}
		r.Proc, r.Name = number, s.cfg.Name
		if r.Kind == answered {
			s.answer(r)
			return
		}
		s.hist.add(r)
		ready <- struct{}{}
	})
	if err != nil {
		return err
	}
	s.proc, s.want = p, true
	select {
	case <-ready:
		return nil
	case <-p.Gone:
		return fmt.Errorf("%s ended at once: %s", s.cfg.Name, p.Ending())
	case <-time.After(40 * time.Second):
		return fmt.Errorf("%s is not ready after 40 s", s.cfg.Name)
	}
}

// kill kills the server and waits until it is gone.
func (s *serverSeat) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = false
	if s.proc != nil {
		s.proc.Kill()
	}
}

// tell has the server do something, if it runs.
func (s *serverSeat) tell(f *fleet, o order) {
	s.mu.Lock()
	p := s.proc
	s.mu.Unlock()
	if p == nil || !p.Running() {
		return
	}
	switch r := f.ask(p, o, 2*time.Second); {
	case r == nil:
		f.note("%s does not answer to %s", s.cfg.Name, o.Op)
	case r.Text != "":
		f.note("%s: %s: %s", s.cfg.Name, o.Op, r.Text)
	}
}

func (s *serverSeat) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.Signal(sig)
}

// crashed says whether the server ended by itself, and how.
func (s *serverSeat) crashed() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.want || s.proc == nil || s.proc.Running() {
		return "", false
	}
	return s.proc.Ending(), true
}
