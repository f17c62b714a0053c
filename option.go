package rolebus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus/internal/found"
)

// Option is a choice about a Bus, for [Connect] and [New].
type Option func(*options)

type options struct {
	node         string
	named        bool // by WithNode
	meta         map[string]string
	roles        []Role
	scopes       []string
	defaultScope string
	bucket       string
	domain       *string // nil if none was given
	prefix       *string
	ttl          time.Duration
	sync         time.Duration
	timeout      time.Duration
	probe        time.Duration
	settings     settings
	handler      *Handler
	given        []Hook
	hooks        *hooks // made of them; nil if there are none
	log          *slog.Logger
	nats         []nats.Option
	discovery    Strategy
	observer     bool
	allScopes    bool
	errs         []error
}

const (
	minTTL   = time.Second
	maxTTL   = 24 * time.Hour
	minProbe = 50 * time.Millisecond

	minSync    = 50 * time.Millisecond
	minTimeout = 50 * time.Millisecond
)

func checkTTL(ttl time.Duration) error {
	if minTTL <= ttl && ttl <= maxTTL {
		return nil // and nothing is allocated: each record says one
	}
	return fmt.Errorf("TTL %v: at least %v, at most %v", ttl, minTTL, maxTTL)
}

// WithNode gives the process its stable name. A process that restarts under the same name takes the place of the one
// before it. Default: the host's name and some random characters, such as "web-7f9c-k3vyq7n2", so that each Bus is a node of its
// own, and a process that restarts is another one. At most 200 bytes in the form that stands in subjects, in which any byte but
// letters, digits, - and _ takes three.
func WithNode(name string) Option { return func(o *options) { o.node, o.named = name, true } }

// WithMeta gives the node metadata, the same in every scope; others read it by [Node.Meta]. Keys and values are UTF-8, keys not
// empty. [Bus.SetMeta] changes it while the Bus lives; a restarted process begins with what its own WithMeta says. An observer
// has none.
func WithMeta(meta map[string]string) Option { return func(o *options) { o.meta = maps.Clone(meta) } }

// WithRoles gives the node roles in the default scope from the start: they are in its first announcement. Given
// more than once, the roles add up.
func WithRoles(roles ...Role) Option {
	return func(o *options) { o.roles = append(o.roles, roles...) }
}

// WithScopes joins these scopes at the start, beside the default scope. Given more than once, the scopes add up.
func WithScopes(names ...string) Option {
	return func(o *options) { o.scopes = append(o.scopes, names...) }
}

// WithDefaultScope names the scope that the Bus itself stands for. It is joined at the start. Default: "default".
func WithDefaultScope(name string) Option { return func(o *options) { o.defaultScope = name } }

// WithBucket names the KV bucket that carries the fleet, and the prefix of its subjects. Fleets in different buckets
// know nothing of each other. Default: "rolebus". Letters, digits, - and _.
func WithBucket(name string) Option { return func(o *options) { o.bucket = name } }

// WithTTL sets the lease: a process that is silent for so long is reported gone. It heartbeats three times as often.
// Default: 15 s; least: 1 s, most: 24 h. It counts in whole milliseconds; what is less is left out. Each process may have its
// own: its record tells it, and how long the others wait for it to write its record again, after an outage or when the bucket
// lost it, is counted in that. A node with a very different one is worth a line in the log, as it is a slip more often than not.
//
// It must have room for some round trips to the bucket's leader: seven are enough. Where there is none for three, a join that gets no
// answer in time fails, and says which TTL would do. docs/RELIABILITY.md has what was measured.
func WithTTL(d time.Duration) Option { return func(o *options) { o.ttl = d } }

// WithSyncInterval sets how often the bucket is asked whether anything was missed. Default: 7 s; least: 50 ms.
func WithSyncInterval(d time.Duration) Option { return func(o *options) { o.sync = d } }

// WithRequestTimeout bounds each single request to NATS, and for how long a goodbye is tried again: see [Bus.Close]. Default: 5
// s; least: 50 ms.
func WithRequestTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithProbeInterval sets how often this process asks its neighbours in each scope whether they are there, so that a crash shows
// within a second, and not only when a lease ends. A node that nobody can reach is left out of the snapshots of those who
// tried: [NodeLeft] with [ReasonUnreachable]. It is back, with [NodeJoined], when it answers or changes, and when its lease
// would have ended by now but the bucket still holds its record: it answers no probes then, or the way to it is broken. When
// its lease has ended, or it said goodbye, that is told by [NodeBuried].
//
// Each process sends three probes in two intervals and each scope; in scopes of more than 500 nodes the interval is 1 ms for
// each node, so that a scope never costs the servers more than 1,500 probes per second. It asks up to seven more in an interval
// for neighbours that ask nobody themselves, and more for those that do not answer: many may have died together. Silence shows
// nothing where an answer takes more than a quarter of a second, as on a far link or where everybody has too much to do: then
// only a lost connection does. 0 switches it off: this process then suspects nobody, but still answers, and says so. Default: 500
// ms; least: 50 ms.
func WithProbeInterval(d time.Duration) Option { return func(o *options) { o.probe = d } }

// WithReplicas sets how many servers of a cluster keep the bucket, 1 to 5; a bucket with another number is changed.
// Default: when the bucket is made 3, or 1 where that is not possible at that moment; an existing one stays as it is.
func WithReplicas(n int) Option {
	return func(o *options) {
		o.settings.replicas = n
		if n < 1 || n > 5 {
			o.errs = append(o.errs, fmt.Errorf("replicas %d: must be 1 to 5", n))
		}
	}
}

// WithMaxBytes limits how much each server keeps of the bucket, in bytes; at least 64 KiB. A node takes about 1 KB in each scope, and
// what its roles and metadata take. A bucket that is full forgets nodes: so one that has less is raised to this, and one that gets
// full, whoever limited it, to four times as much, if the account has room for it. One that has more stays as it is. Default:
// no limit; where the account demands one 64 MiB, or less, down to 1 MiB, if it has no room for that.
func WithMaxBytes(n int64) Option {
	return func(o *options) {
		o.settings.maxBytes = n
		if n < minBytes {
			o.errs = append(o.errs, fmt.Errorf("max bytes %d: at least %d", n, minBytes))
		}
	}
}

// WithPlacement sets where the bucket is kept when it is made: in which cluster, and on servers that have all of these
// tags. Either may be left out. A bucket that exists stays where it is. Default: in the cluster of whoever makes it, if
// that has enough servers, else in another one.
func WithPlacement(cluster string, tags ...string) Option {
	return func(o *options) {
		o.settings.placement = &jetstream.Placement{Cluster: cluster, Tags: slices.Clone(tags)}
		if cluster == "" && len(tags) == 0 || slices.Contains(tags, "") {
			o.errs = append(o.errs, fmt.Errorf("placement in cluster %q with tags %q: a cluster, or tags that are not empty", cluster, tags))
		}
	}
}

// WithoutProvisioning makes a process that neither makes the bucket nor changes its settings, and needs no permission for
// that: somebody else does, such as a deployment job that calls [Provision]. Connect waits until there is a bucket, as it waits for
// servers, and when its ctx is over first the error matches [ErrNoBucket]. If the bucket has other settings the error is
// [ErrBucketMismatch], with the command that mends them. What [WithReplicas], [WithStorage], [WithMaxBytes] and [WithPlacement] say
// is nothing to such a process.
func WithoutProvisioning() Option { return func(o *options) { o.settings.untouched = true } }

// WithStorage sets whether the bucket is kept in files or in memory; the storage of an existing bucket cannot be
// changed ([ErrBucketMismatch]). Default: files for a new bucket; an existing one stays as it is.
func WithStorage(s jetstream.StorageType) Option {
	return func(o *options) {
		o.settings.storage, o.settings.storageSet = s, true
		if s != jetstream.FileStorage && s != jetstream.MemoryStorage {
			o.errs = append(o.errs, fmt.Errorf("storage %v: must be file or memory", s))
		}
	}
}

// WithHandler calls a handler with the events of every scope that is joined: see [Handler] for from when on. Given more than
// once, the last one counts.
func WithHandler(h Handler) Option { return func(o *options) { o.handler = &h } }

// WithHooks has hooks told what the Bus does, to count, measure and trace it. Given more than once, the hooks add up. A hook
// that is nil, or has the method of no event, is an error: most likely it has a method with another receiver or signature.
// Default: none, which costs nothing.
func WithHooks(hooks ...Hook) Option {
	return func(o *options) { o.given = append(o.given, hooks...) }
}

// WithLogger logs to l what the Bus does not return: lost contact, ignored messages, panics of handlers and hooks. Default:
// nothing is logged. A nil logger logs nothing. A panic of a handler or a hook that l does not take, because it is not enabled
// for errors, goes to standard error.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l == nil {
			l = slog.New(slog.DiscardHandler)
		}
		o.log = l
	}
}

// WithNATS adds options of nats.go, such as credentials, to the connection that [Connect] makes; they have the last
// word. [New] refuses them.
func WithNATS(opts ...nats.Option) Option {
	return func(o *options) { o.nats = append(o.nats, opts...) }
}

// WithDiscovery has the connection that [Connect] makes go to the servers that a strategy finds, beside those of the URL, which may be
// empty then; package discovery has strategies. [New] refuses it. Given more than once, the last one counts: discovery.Combine makes
// one of several.
//
// Connect waits for the first address as it waits for a server: it says so in the log, and when ctx is over the error says what the strategy
// said last. From then on the servers that the connection may go to follow what is found, whether it is up or not. What works is never
// given up for that: the connection stays where it is when its server is found no more, and goes elsewhere when it breaks. What the
// strategy cannot learn takes nothing away: only a list that is whole and not empty does. At most 1,024 addresses are used.
//
// Found servers are tried by priority and weight ([Address]), and, where these are equal, by chance, those of the URL among them; those that
// a server told of (see nats.IgnoreDiscoveredServers; not with a limit by nats.MaxReconnects) come last, when the connection is lost. A user and a password in the URL are for all.
// An address without a scheme has that of the URL's first server, or nats. nats and ws do not go together; TLS is for all, or for none,
// and so an address that wants it is used only if it is among the first, or the URL or the options want it, too.
//
// With TLS the certificate of a server that is known by a name must be for that name, or for the TLSName that was found with it. Of one
// that is known by its IP address it must be for any name or address by which the servers are known: those found, their TLSName, and those of
// the URL; what a server told of others does not count. tls.Config.ServerName, if it is set, takes the place of all that.
//
// Refused credentials are an error of Connect at once, as ever; whatever else is wrong with a server that was found is waited for, as
// another one may be found. The Bus stops the strategy when it has said goodbye; one that has not ended a second later is left to itself,
// and the log says so.
func WithDiscovery(s Strategy) Option {
	return func(o *options) {
		o.errs = append(o.errs, found.ErrOf(s))
		o.discovery = s
	}
}

// WithObserver makes a Bus that only reads: it has no record and no lease, others do not see it, and it needs no permission to
// write. It neither makes the bucket nor changes its settings: Connect waits until there is one, as it waits for servers, and when
// its ctx is over first the error matches [ErrNoBucket]. By [WithTTL], which should be about that of the fleet, it knows how soon
// it must notice an outage. Its writing calls return [ErrReadOnly].
func WithObserver() Option { return func(o *options) { o.observer = true } }

// WithAllScopes makes an observer join every scope in which somebody is: those that are there before [Connect] returns, others
// as they appear. A scope that it joined so, and in which nobody has been for one or two sync intervals, is left again, which
// ends its watches. [Bus.Scopes] says which are joined. Every announcement reaches such a process twice.
func WithAllScopes() Option { return func(o *options) { o.allScopes = true } }

// bucketSettings are what this process does about the bucket.
func (o *options) bucketSettings() settings {
	s := o.settings
	s.untouched = s.untouched || o.observer
	return s
}

// newOptions collects the options and complains about all of them at once.
func newOptions(opts []Option) (*options, error) {
	o := &options{
		defaultScope: "default", bucket: "rolebus",
		ttl: 15 * time.Second, sync: 7 * time.Second, timeout: 5 * time.Second, probe: 500 * time.Millisecond,
		settings: settings{storage: jetstream.FileStorage},
		log:      slog.New(slog.DiscardHandler),
	}
	host, _ := os.Hostname() // without one it works, too
	o.node = defaultNode(host)
	for i, opt := range opts {
		if opt == nil {
			o.errs = append(o.errs, fmt.Errorf("option %d is nil", i+1))
			continue
		}
		opt(o)
	}
	var err error
	if o.hooks, err = newHooks(o.given, o.log); err != nil {
		o.errs = append(o.errs, err)
	}
	ttl := o.ttl
	o.ttl = ttl.Truncate(time.Millisecond) // as messages tell it
	o.scopes = uniqueScopes(o.defaultScope, o.scopes)
	errs := append(o.errs,
		checkName("node", o.node),
		checkBucket(o.bucket),
		o.checkReach(),
		checkTTL(ttl),
		check(o.sync >= minSync, "sync interval %v: at least %v", o.sync, minSync),
		check(o.timeout >= minTimeout, "request timeout %v: at least %v", o.timeout, minTimeout),
		check(o.probe == 0 || o.probe >= minProbe, "probe interval %v: at least %v, or 0 for no probes", o.probe, minProbe),
		check(!o.observer || len(o.roles) == 0, "roles %v: an observer has none", o.roles),
		check(!o.observer || len(o.meta) == 0, "metadata: an observer has none"),
		check(!o.allScopes || o.observer, "all scopes: only for an observer"),
		checkRoles(o.roles),
	)
	for _, scope := range o.scopes {
		errs = append(errs, checkName("scope", scope))
	}
	return o, errors.Join(append(errs, checkMeta(o.meta))...)
}

// defaultNode makes a name of the host's. That alone would not do, nor with the process's id: in two containers that share a
// host's network both are the same, and two nodes of one name supersede each other for ever.
func defaultNode(host string) string {
	host = strings.ToValidUTF8(host, "_")
	if host == "" {
		host = "node"
	}
	random := strings.ToLower(rand.Text()[:8])
	for len(SubjectToken(host))+len("-")+len(random) > maxToken {
		_, size := utf8.DecodeLastRuneInString(host)
		host = host[:len(host)-size]
	}
	return host + "-" + random
}

// origin says where the node's name came from.
func (o *options) origin() string {
	if o.named {
		return "named by WithNode"
	}
	return "named by default"
}

func checkMeta(meta map[string]string) error {
	var errs []error
	for key, value := range meta {
		errs = append(errs,
			check(key != "", "metadata: a key is empty"),
			check(utf8.ValidString(key) && utf8.ValidString(value), "metadata %q: not UTF-8", clip(key)))
	}
	return errors.Join(errs...)
}

// uniqueScopes returns the default scope and then the others, each once.
func uniqueScopes(first string, others []string) []string {
	scopes := []string{first}
	for _, scope := range others {
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
