// Package embedded runs a real nats-server with JetStream inside the process: alone, for a program that brings its own bus, and for tests
// ([Start]); or as one of a cluster that processes form by themselves, with nothing to install, to find or to replace ([Cluster]).
//
//	c, err := embedded.Cluster(ctx, discovery.Gossip("workers", secret), embedded.WithSize(3), embedded.WithSecret(secret))
//	...
//	defer c.Close()
//	bus, err := c.Connect(ctx, rolebus.WithRoles("worker"))
//
// Its clients hear on the subject rolebus.sys.disconnect which client of their account has just gone: the news comes from
// the server, names the connection, and is there within a millisecond of a process's death. So a fleet on this server notices
// a crash at once, with nothing to configure. Whoever subscribes to everything (">") gets these messages, too.
//
// A server that was started must be closed: JetStream writes to its store until [Server.Close] returns, and a process
// that exits earlier may damage it.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rolebus/rolebus/internal/sysevents"
)

// A lone server is ready, or has said why not, before its Start returns. One with routes opens them in the background.
const (
	readyTimeout = 10 * time.Second
	readyPoll    = 50 * time.Millisecond // below 26 ms the server's own wait spins
)

// Server is a running NATS server. Its methods may be called from several goroutines at once.
type Server struct {
	url   string
	close func() error
}

// Start runs a server and returns when clients can connect to it and JetStream answers. A server that
// [WithServerOptions] makes a member of a cluster does not wait for the others: there JetStream answers once enough of
// them are up to elect a leader.
//
// Start returns an error, and leaves nothing running, if an option is invalid (all that are, at once), if the address
// cannot be listened on (a taken port matches [syscall.EADDRINUSE] on Unix), or if the store directory cannot be written
// to, is in use by another embedded server, of this process or any other, or is that of a process of a [Cluster].
func Start(opts ...Option) (*Server, error) {
	cfg, err := newConfig(opts)
	if len(cfg.cluster.given) > 0 {
		err = errors.Join(err, fmt.Errorf("for Cluster only: %s", strings.Join(cfg.cluster.given, ", ")))
	}
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	options := cfg.serverOptions()
	st, err := openStore(options.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	options.StoreDir = st.dir
	if err := clusters(st.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded server: %w", err), st.close())
	}
	log := newServerLog(cfg.log)
	ns, err := run(options, log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded server: %w", err), st.close())
	}
	return &Server{
		url: clientURL(ns),
		close: sync.OnceValue(func() error {
			stop(ns)
			log.end()
			return st.close()
		}),
	}, nil
}

// URL is where clients of this machine connect, such as nats://127.0.0.1:4222. It stays the same after Close.
func (s *Server) URL() string { return s.url }

// Close disconnects all clients, stops the server, and returns when it has stopped and its store is written. The port and
// the store directory can be used again at once. A temporary store directory is removed.
//
// Close may be called more than once, and at once: every call returns when the server has stopped, with the same error,
// which says what of the store could not be given up or removed.
func (s *Server) Close() error {
	return s.close()
}

func run(options *server.Options, log *serverLog) (*server.Server, error) {
	log.conceal(secretsOf(options))
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, log.clean(err)
	}
	sysevents.Import(ns, options)
	ns.SetLoggerV2(log, options.Debug || log.debugs(), options.Trace, options.TraceVerbose)
	ns.Start()
	if err := waitReady(ns, log.fatal); err != nil {
		stop(ns)
		log.end()
		return nil, err
	}
	return ns, nil
}

func waitReady(ns *server.Server, fatal <-chan error) error {
	for deadline := time.Now().Add(readyTimeout); time.Now().Before(deadline); {
		select {
		case err := <-fatal:
			return err
		default:
		}
		if !ns.ReadyForConnections(readyPoll) {
			continue
		}
		if !ns.JetStreamEnabled() {
			return errors.New("JetStream is off: leave Options.JetStream set")
		}
		return nil
	}
	return fmt.Errorf("not ready for connections after %v", readyTimeout)
}

func stop(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}

// clientURL is the server's own idea of its URL, except that nobody can be told to dial "every address".
func clientURL(ns *server.Server) string {
	u, err := url.Parse(ns.ClientURL())
	if err != nil {
		return ns.ClientURL()
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		u.Host = net.JoinHostPort(loopback, u.Port())
	}
	return u.String()
}
