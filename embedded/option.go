package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

const loopback = "127.0.0.1"

// Option changes how [Start] runs a server, or [Cluster] a part in a cluster; some are for the latter only, and say so. Of the same option given
// twice, the later one counts, but both must be valid.
type Option func(*config) error

type config struct {
	host     string
	port     int
	storeDir string // "" is a temporary one
	name     string // "" is the server's random id
	log      *slog.Logger
	last     []func(*server.Options)
	cluster  clusterConfig
}

// WithPort makes the server listen on this port, from 1 to 65535. The default, 0, is any free one: see [Server.URL].
func WithPort(port int) Option {
	return func(c *config) error {
		c.port = port
		return check(port >= 0 && port <= 65535, "port %d: must be from 0 to 65535", port)
	}
}

// WithHost makes the server listen on this address of the machine, or on all of them ("0.0.0.0"). The default is the
// loopback address 127.0.0.1. Anyone who reaches the address may connect, unless [WithServerOptions] asks for more.
func WithHost(host string) Option {
	return func(c *config) error {
		c.host = host
		return check(host != "", "host: must not be empty")
	}
}

// WithStoreDir makes the server keep its data in this directory, which is made if there is none. It is never removed: a
// server that is started there later finds the data again. Only one server may have it at a time: the file rolebus.lock
// in it is how they know. The default is a temporary directory, which [Server.Close] removes; a process that is killed leaves it behind.
func WithStoreDir(dir string) Option {
	return func(c *config) error {
		c.storeDir = dir
		return check(dir != "", "store directory: must not be empty")
	}
}

// WithName gives the server a name, by which monitoring and cluster members know it. The default is a random one.
func WithName(name string) Option {
	return func(c *config) error {
		c.name = name
		return check(name != "" && !strings.Contains(name, " "), "name %q: must not be empty or contain spaces", name)
	}
}

// WithLogger sends what the server logs to l: its notices as Info; its debug messages if l is enabled for Debug when the
// server starts. The default is silence. The server logs while it holds its own locks, so a handler of l must not wait
// for this server.
//
// Passwords, tokens and keys are hidden, those in the server's options and what has the form of one. What the server says again and again, as of a
// route that is refused, is limited: of each kind of notice, warning or error a minute has the first three lines, those few that
// say something new, and the last one with the number of the others, which is logged before the next line after that minute, or by
// [Server.Close]. Debug messages are not limited.
//
// [Cluster] logs itself what becomes of the cluster. What its server logs is a level lower there, errors as warnings and notices for Debug, and its
// debug messages are left out.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		c.log = l
		return check(l != nil, "logger: must not be nil")
	}
}

// WithServerOptions lets f change the options that the server is about to start with, after all other options are in
// them: accounts, TLS, limits, a cluster. Given more than once, all are called, in order. The fields are nats-server's
// own: there, a Port of 0 is 4222, and -1 is any free one. NoSigs is set, because signals belong to the program, and
// JetStream must stay on.
//
// [Cluster] calls f to try the options out, and again for each start of a member's server: so f must make accounts and the like anew each time, as
// a server keeps those that it was given.
//
// Every account that f puts into Accounts hears of its own connections, as the global account does, unless it imports
// these events already, NoSystemAccount is set, or accounts come as JWTs from an operator, who then has to give them the
// import.
func WithServerOptions(f func(*server.Options)) Option {
	return func(c *config) error {
		c.last = append(c.last, f)
		return check(f != nil, "server options: function must not be nil")
	}
}

func newConfig(opts []Option) (*config, error) {
	c := &config{host: loopback, log: slog.New(slog.DiscardHandler)}
	var errs []error
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, fmt.Errorf("option %d is nil", i+1))
			continue
		}
		errs = append(errs, opt(c))
	}
	return c, errors.Join(errs...)
}

func (c *config) serverOptions() *server.Options {
	o := c.ownOptions()
	for _, f := range c.last {
		f(o)
	}
	return o
}

// ownOptions are those before the user's functions have seen them.
func (c *config) ownOptions() *server.Options {
	o := &server.Options{
		ServerName:             c.name,
		Host:                   c.host,
		Port:                   c.port,
		JetStream:              true,
		StoreDir:               c.storeDir,
		DisableJetStreamBanner: true,
		NoSigs:                 true,
	}
	if c.port == 0 {
		o.Port = server.RANDOM_PORT
	}
	return o
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
