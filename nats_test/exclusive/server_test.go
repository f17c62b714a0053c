//go:build linux

package exclusive_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rolebus/rolebus/internal/children"
	"github.com/rolebus/rolebus/internal/sysevents"
)

// serverConfig is what a server process is told.
type serverConfig struct {
	Name, Dir, Log string
	Port, Cluster  int
	Routes         []string // of all servers; none if it is alone
}

// runServer is the main function of a server process.
func runServer(in *bufio.Reader) error {
	var cfg serverConfig
	if err := children.ReadLine(in, &cfg); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: cfg.Name, Host: "127.0.0.1", Port: cfg.Port, JetStream: true, StoreDir: cfg.Dir, NoSigs: true,
		LogFile: cfg.Log, LogSizeLimit: 16 << 20, LogMaxFiles: 2, Logtime: true, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 256 << 20,
	}
	if len(cfg.Routes) > 0 {
		o.Cluster = server.ClusterOpts{Name: "exclusive", Host: "127.0.0.1", Port: cfg.Cluster, NoAdvertise: true}
		for _, route := range cfg.Routes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: route})
		}
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return err
	}
	srv.ConfigureLogger()
	sysevents.Import(srv, o)
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		return errors.New("not ready for connections after 30 s")
	}
	fmt.Println(joinedSaid)
	var order string
	_ = children.ReadLine(in, &order) // the test is over
	return nil
}

// serverSeat is a server, whether it runs or not.
type serverSeat struct {
	cfg serverConfig

	mu   sync.Mutex
	proc *process
	want bool // it is to run
}

// start starts the server and returns when clients can connect to it.
func (s *serverSeat) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := startProcess(filepath.Dir(s.cfg.Dir), "server", s.cfg)
	if err != nil {
		return err
	}
	s.proc, s.want = p, true
	select {
	case <-p.said:
		return nil
	case <-p.Gone:
		return fmt.Errorf("%s ended at once: %s", s.cfg.Name, p.Ending())
	case <-time.After(patience):
		return fmt.Errorf("%s is not ready after %v", s.cfg.Name, patience)
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

func (s *serverSeat) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *serverSeat) freeze() error { return s.process().Signal(syscall.SIGSTOP) }
func (s *serverSeat) thaw() error   { return s.process().Signal(syscall.SIGCONT) }

// crashed says whether the server ended by itself, and how.
func (s *serverSeat) crashed() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.want || s.proc.Running() {
		return "", false
	}
	return s.cfg.Name + ": " + s.proc.Ending(), true
}

func (s *serverSeat) storeAndCopy() (store, aside string) {
	return filepath.Join(s.cfg.Dir, "jetstream"), filepath.Join(s.cfg.Dir, "copy")
}

// copyStore copies what the server has stored, while it writes to it: files that come or go meanwhile are as a disk that loses its power may have
// them.
func (s *serverSeat) copyStore() {
	store, aside := s.storeAndCopy()
	_ = os.RemoveAll(aside)
	_ = filepath.WalkDir(store, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		to := filepath.Join(aside, strings.TrimPrefix(path, store))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		return os.WriteFile(to, content, 0o600)
	})
}

// restoreStore puts it back; the server must not run.
func (s *serverSeat) restoreStore() error {
	store, aside := s.storeAndCopy()
	if err := os.RemoveAll(store); err != nil {
		return err
	}
	if err := os.Rename(aside, store); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // nothing was stored when it was copied
}

// loseStore loses all that it has stored; it must not run.
func (s *serverSeat) loseStore() error {
	store, _ := s.storeAndCopy()
	return os.RemoveAll(store)
}
