package discovery

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus"
)

// Option is a choice about a strategy. Each says for which it is; given to another one it is an error. All mistakes come in one error, by
// [rolebus.Connect], or by the strategy's Discover, before anything starts. Of an option that is given again the last one counts, but for
// [WithHooks], which adds up.
type Option func(*options)

type options struct {
	name  string
	log   *slog.Logger
	hooks *hooks // nil if there are none

	interval, timeout, backoff time.Duration

	shape    Address // what the addresses have that the source does not say
	resolver Resolver
	family   string // "ip4", "ip6", or "" for both
	paths    []string
	quiet    time.Duration // that a file has not changed; 0: as usual
	dir      string
	base     string
	client   *http.Client
	gossip   gossipOptions

	given []string // by name
	hook  []Hook
	errs  []error
}

const (
	minInterval = 10 * time.Millisecond
	maxInterval = 24 * time.Hour
)

// The options that belong together.
var (
	forAll   = []string{"Name", "WithHooks", "WithLogger"}
	forPolls = []string{"Interval", "Timeout", "MaxBackoff"}
	forShape = []string{"Port", "Scheme", "Routes", "Cluster", "TLSName"}
)

// collect takes the options of a strategy which takes those that are named, beside those that all take.
func collect(opts []Option, takes ...[]string) *options {
	o := &options{
		log: slog.New(slog.DiscardHandler), interval: 5 * time.Second, timeout: 5 * time.Second, backoff: time.Minute, client: http.DefaultClient,
	}
	known := slices.Concat(append(takes, forAll)...)
	for i, opt := range opts {
		if opt == nil {
			o.wrong("option %d is nil", i+1)
			continue
		}
		opt(o)
	}
	var no []string
	for _, name := range o.given {
		if !slices.Contains(known, name) && !slices.Contains(no, name) {
			no = append(no, name)
		}
	}
	if len(no) > 0 {
		slices.Sort(known)
		o.wrong("it does not take %s; it takes %s", strings.Join(no, ", "), strings.Join(known, ", "))
	}
	var err error
	if o.hooks, err = newHooks(o.hook, o.log); err != nil {
		o.errs = append(o.errs, err)
	}
	o.backoff = max(o.backoff, o.interval)
	return o
}

func (o *options) wrong(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

func (o *options) has(name string) bool { return slices.Contains(o.given, name) }

// named is the name that was given, or the kind of the strategy and what it looks at.
func (o *options) named(kind, of string) string {
	if o.name != "" {
		return o.name
	}
	return strings.TrimSpace(kind + " " + of)
}

// choice makes an option, which is known by its name.
func choice(name string, set func(*options)) Option {
	return func(o *options) {
		o.given = append(o.given, name)
		set(o)
	}
}

// Name is what logs and hooks call the strategy. For every strategy. Default: what it is and what it looks at, such as "DNS nats.example".
func Name(name string) Option {
	return choice("Name", func(o *options) {
		if o.name = name; name == "" {
			o.wrong("Name: it is empty")
		}
	})
}

// WithHooks has hooks told what a strategy finds and does. For every strategy. Given more than once, the hooks add up. A hook that is
// nil, or has the method of no event, is an error. Default: none, which costs nothing.
func WithHooks(hooks ...Hook) Option {
	return choice("WithHooks", func(o *options) { o.hook = append(o.hook, hooks...) })
}

// WithLogger logs to l: found and gone as info; failures as warnings, each when it begins and then at growing intervals; each lookup for
// debugging. For every strategy. Default: nothing is logged; what a bus cannot learn it logs itself. Nil logs nothing.
func WithLogger(l *slog.Logger) Option {
	return choice("WithLogger", func(o *options) {
		if l == nil {
			l = slog.New(slog.DiscardHandler)
		}
		o.log = l
	})
}

// Interval sets how often a strategy asks, on average: a tenth of it more or less by chance. For strategies that ask. Default: 5 s, as
// libcluster's polling_interval; least: 10 ms, most: 24 h.
func Interval(d time.Duration) Option {
	return choice("Interval", func(o *options) { o.interval = o.between("Interval", d, minInterval, maxInterval) })
}

// Timeout bounds each lookup. For strategies that ask. Default: 5 s; least: 10 ms, most: 24 h.
func Timeout(d time.Duration) Option {
	return choice("Timeout", func(o *options) { o.timeout = o.between("Timeout", d, minInterval, maxInterval) })
}

// MaxBackoff sets how seldom a source that fails is asked at the least; it is never less than [Interval]. For strategies that ask.
// Default: 1 min; least: 10 ms, most: 24 h.
func MaxBackoff(d time.Duration) Option {
	return choice("MaxBackoff", func(o *options) { o.backoff = o.between("MaxBackoff", d, minInterval, maxInterval) })
}

func (o *options) between(name string, d, least, most time.Duration) time.Duration {
	if d < least || d > most {
		o.wrong("%s %v: at least %v, at most %v", name, d, least, most)
	}
	return d
}

// Port sets the port of the addresses whose source names none. For strategies whose source may not. Default: 4222; of routes 6222.
func Port(port int) Option {
	return choice("Port", func(o *options) {
		if o.shape.Port = port; port < 1 || port > 65535 {
			o.wrong("Port %d: 1 to 65535", port)
		}
	})
}

// Scheme sets the scheme of the addresses whose source names none: nats, tls, ws or wss; of [Routes] nats-route or tls. For
// strategies whose source may not. Default: that of the URL beside the strategy, or nats.
func Scheme(scheme string) Option {
	return choice("Scheme", func(o *options) { o.shape.Scheme = scheme })
}

// Routes says that the addresses are those where servers listen for each other. A bus, which is a client, does not use them. For
// strategies whose source does not say so. Default: they are for clients.
func Routes() Option { return choice("Routes", func(o *options) { o.shape.Route = true }) }

// Cluster says of which cluster the servers are. For strategies whose source does not say so. Default: it is not known.
func Cluster(name string) Option {
	return choice("Cluster", func(o *options) { o.shape.Cluster = name })
}

// TLSName says whom the servers' certificates are for, where it is not the host of the address. For strategies whose source does not
// say so. Default: the host; of an IP address that was looked up, the name.
func TLSName(name string) Option {
	return choice("TLSName", func(o *options) { o.shape.TLSName = name })
}

// shapeErr says what is wrong with what all addresses are to have.
func (o *options) shapeErr() error {
	a := o.shape
	a.Host = "host"
	if a.Port < 0 || a.Port > 65535 {
		a.Port = 0 // told already
	}
	return a.Check()
}

// complete gives an address what its source did not say.
func (o *options) complete(a Address) Address {
	if o.shape.Route && !a.Route && (a.Scheme == "" || a.Scheme == "tls") {
		a.Route = true
	}
	if a.Port == 0 {
		a.Port = o.shape.Port
	}
	if a.Scheme == "" {
		a.Scheme = o.shape.Scheme
	}
	if a.Cluster == "" {
		a.Cluster = o.shape.Cluster
	}
	if a.TLSName == "" {
		a.TLSName = o.shape.TLSName
	}
	return a
}

// parse makes addresses of texts. What is no address is told, each by itself, and left out.
func (o *options) parse(texts []string) (addresses []Address, wrong error) {
	var errs []error
	for _, text := range texts {
		a, err := rolebus.ParseAddress(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		addresses = append(addresses, o.complete(a))
	}
	return addresses, errors.Join(errs...)
}

const mostUnusable = 5 // that one error names

// usable returns the addresses that can be used, and what is wrong with the others.
func usable(addresses []Address) (good []Address, wrong error) {
	var errs []error
	bad := 0
	for i, a := range addresses {
		err := a.Check()
		if err == nil {
			if bad > 0 {
				good = append(good, a)
			}
			continue
		}
		if bad == 0 {
			good = append(good, addresses[:i]...) // a copy: the list is the caller's
		}
		if bad++; bad <= mostUnusable {
			errs = append(errs, err)
		}
	}
	if bad == 0 {
		return addresses, nil
	}
	if bad > mostUnusable {
		errs = append(errs, fmt.Errorf("and %d more", bad-mostUnusable))
	}
	return good, &Failure{Reason: ReasonMalformed, Err: join(errs...)}
}

// join is errors.Join, but leaves a single error as it is.
func join(errs ...error) error {
	var only error
	n := 0
	for _, err := range errs {
		if err != nil {
			only = err
			n++
		}
	}
	if n == 1 {
		return only
	}
	return errors.Join(errs...)
}
