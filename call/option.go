package call

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
)

// Option is a choice about a [Method], for [New] and [Func].
type Option interface{ choose(*options) }

// HandleOption is a choice about an [Endpoint], for [Handle].
type HandleOption interface{ handle(*handleOptions) }

// SharedOption is a choice about both.
type SharedOption interface {
	Option
	HandleOption
}

type options struct {
	shared
	pick      func() picker // nil: random
	picked    string        // its name
	key       any           // HashBy: a func(In) string
	keyed     bool          // Hash, HashBy
	loads     bool          // LeastBusy
	sticky    bool
	local     bool
	meta      string // PreferMeta: the key
	metaValue *string
	names     []string // Nodes
	named     bool
	namesFunc func() []string

	timeout    time.Duration
	retry      int
	backoff    *[2]time.Duration
	idempotent bool
	wait       *bool
	hedge      time.Duration
	inject     func(context.Context, nats.Header)
}

type handleOptions struct {
	shared
	concurrency, queue int
	extract            func(context.Context, nats.Header) context.Context
}

type shared struct {
	codec Codec
	given []Hook
	errs  []error
}

func (s *shared) wrong(format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf(format, args...))
}

type option func(*options)

func (f option) choose(o *options) { f(o) }

type handleOption func(*handleOptions)

func (f handleOption) handle(o *handleOptions) { f(o) }

type sharedOption func(*shared)

func (f sharedOption) choose(o *options)       { f(&o.shared) }
func (f sharedOption) handle(o *handleOptions) { f(&o.shared) }

// Options makes several options one, for what many methods have in common. Of an option that is given again the last one counts.
func Options(opts ...Option) Option {
	opts = slices.Clone(opts)
	return option(func(o *options) { o.apply(opts) })
}

func (o *options) apply(opts []Option) {
	for i, opt := range opts {
		if opt == nil {
			o.wrong("option %d is nil", i+1)
			continue
		}
		opt.choose(o)
	}
}

// Encoding sets how inputs and outputs are encoded, the same on both sides. Default: [JSON].
func Encoding(c Codec) SharedOption {
	return sharedOption(func(s *shared) {
		if err := checkCodec(c); err != nil {
			s.errs = append(s.errs, fmt.Errorf("encoding: %w", err))
			return
		}
		s.codec = c
	})
}

// WithHooks has hooks told what happens. Given more than once, the hooks add up. A hook that is nil, or has the method of no event, is
// an error. Default: none, which costs nothing.
func WithHooks(hooks ...Hook) SharedOption {
	return sharedOption(func(s *shared) { s.given = append(s.given, hooks...) })
}

// Random picks any of the nodes, each as likely as any other. It is the default.
func Random() Option {
	return option(func(o *options) { o.by("Random", nil) })
}

// RoundRobin picks one node after another, by name, from a random one on. However many goroutines call, each node gets as many calls of
// this [Method] as any other: of n·k calls to n nodes that stay k each. When nodes come or go it goes on behind the one that was
// picked last.
func RoundRobin() Option {
	return option(func(o *options) { o.by("RoundRobin", func() picker { return &rotation{} }) })
}

// LeastBusy picks two nodes at random, and of these the one to which fewer calls of this process are under way, whichever methods'
// in this scope. One that was busy ([ErrBusy]) a moment ago counts as busier than any that was not.
func LeastBusy() Option {
	return option(func(o *options) { o.by("LeastBusy", nil); o.loads = true })
}

// by sets how a node is picked, in the place of what was set before.
func (o *options) by(name string, pick func() picker) {
	o.picked, o.pick, o.key, o.keyed, o.loads = name, pick, nil, false, false
}

// Hash picks the node to which the encoded input belongs, by [rolebus.Nodes.Owner]: the same in every process that sees the same nodes. When
// a node goes, only its own inputs move. If that node fails, a call that is retried goes to the one that would own it without.
// It looks at every node, about two nanoseconds for each.
func Hash() Option {
	return option(func(o *options) { o.by("Hash", nil); o.keyed = true })
}

// HashBy is [Hash] by a key that a function makes of the input. In must be that of the [Method]. Without a function it is Hash.
func HashBy[In any](key func(In) string) Option {
	return option(func(o *options) {
		o.by("HashBy", nil)
		if o.keyed = true; key != nil {
			o.key = key
		}
	})
}

// Choose has a function choose, which is given the nodes that come into question, at least one, and returns one of them. It is called
// anew for each attempt, without those that have failed if there are others, on the goroutine of the call, and by many of these at the
// same time. If it returns nil, or another node, or panics, the call fails with [ErrChoice].
func Choose(f func(rolebus.Nodes) *rolebus.Node) Option {
	return option(func(o *options) {
		o.by("Choose", func() picker { return choice(f) })
		if f == nil {
			o.wrong("Choose: nil function")
		}
	})
}

// Sticky stays with the node that was picked first, until that life of it leaves, dies, is unreachable, loses the role, or fails an attempt
// (which an error of its handler does not); then with the next one. [Method.Unstick] ends it, too. Every Method has a node of its own.
func Sticky() Option { return option(func(o *options) { o.sticky = true }) }

// PreferLocal picks this process's own node if it has the role, without the network. Else, or once that has failed, it is as if it were not
// given.
func PreferLocal() Option { return option(func(o *options) { o.local = true }) }

// PreferMeta picks among the nodes whose metadata has a value under a key, if there are any; else among all. Without a value it is the one
// of this process's own node; where that has none, as an observer never has, nothing is preferred.
func PreferMeta(key string, value ...string) Option {
	return option(func(o *options) {
		o.meta, o.metaValue = key, nil
		if len(value) > 0 {
			o.metaValue = &value[0]
		}
		if key == "" || len(value) > 1 {
			o.wrong("PreferMeta: a key that is not empty, and one value at most")
		}
	})
}

// Nodes picks among the nodes of these names only, of those that are listed and have the role. With the role "" they need have none.
func Nodes(names ...string) Option {
	names = slices.Clone(names)
	return option(func(o *options) {
		o.names, o.named, o.namesFunc = names, true, nil
		if len(names) == 0 {
			o.wrong("Nodes: no names")
		}
		for _, name := range names {
			if _, err := rolebus.NewNode(rolebus.NodeState{Name: name}); err != nil {
				o.wrong("Nodes: %q cannot be the name of a node", clip(name))
			}
		}
	})
}

// NodesFunc is [Nodes] by a function that is called for each attempt, on the goroutine of the call. If it panics the call fails with
// [ErrChoice].
func NodesFunc(names func() []string) Option {
	return option(func(o *options) {
		o.names, o.named, o.namesFunc = nil, true, names
		if names == nil {
			o.wrong("NodesFunc: nil function")
		}
	})
}

// Timeout bounds each attempt; what is left of ctx does, too. It travels as a duration, and ends the handler's context. Default: 5 s;
// least 1 ms, most 24 h.
func Timeout(d time.Duration) Option {
	return option(func(o *options) {
		if o.timeout = d; d < time.Millisecond || d > maxTimeout {
			o.wrong("Timeout %v: at least %v, at most %v", d, time.Millisecond, maxTimeout)
		}
	})
}

// Retry has a call that failed made again, up to n times: at most n+1 attempts. An attempt that certainly was not run is followed by
// another one whatever the method does: nobody listened, [ErrBusy], [ErrDraining], [ErrNoMethod]. One that may have been run only if
// the method is [Idempotent]. What a handler returned never is, nor what cannot be encoded or decoded. Each attempt goes to a node that
// has not failed this call, if there is one. Default: 0; at most 1,000.
func Retry(n int) Option {
	return option(func(o *options) {
		if o.retry = n; n < 0 || n > 1000 {
			o.wrong("Retry %d: 0 to 1000", n)
		}
	})
}

// Backoff has a call wait before it is tried again: before the second attempt up to min, then up to twice as long each time, up to max;
// how long is chosen at random, at least half of it. A min of 0 is none before the second attempt, and 1 ms before the third. Never before the first attempt, nor after the last. Default: nothing while
// there is a node that has not failed this call; else from 10 ms to 1 s.
func Backoff(least, most time.Duration) Option {
	return option(func(o *options) {
		o.backoff = &[2]time.Duration{least, most}
		if least < 0 || most < least || most > time.Hour {
			o.wrong("Backoff from %v to %v: not negative, the first at most the second, at most 1h", least, most)
		}
	})
}

// Idempotent says that the method may run more than once for one call, or on two nodes at the same time, without harm.
func Idempotent() Option { return option(func(o *options) { o.idempotent = true }) }

// WaitForNode says whether a call waits, within its ctx, until a node has the role, or fails at once with [ErrNoNode]. Default: it
// waits if there is a [Retry]. A ctx without an end waits for ever.
func WaitForNode(wait bool) Option { return option(func(o *options) { o.wait = &wait }) }

// Hedge has an [Idempotent] method asked of a second node when no answer has come after so long: two at most are under way, the first
// answer counts, and the other call is cancelled. The second one counts as a retry, and is made without [Retry], too, if there is another node.
func Hedge(after time.Duration) Option {
	return option(func(o *options) {
		if o.hedge = after; after <= 0 {
			o.wrong("Hedge after %v: must be positive", after)
		}
	})
}

// Inject has a function put headers into each request, such as a trace's context. It is called on the goroutine of the attempt. What begins
// with "Rolebus-" or "Nats-", and Content-Type, is taken out again. If it panics, or a name cannot be that of a header, the call fails with
// [ErrEncode]. [Extract] is the other side.
func Inject(f func(ctx context.Context, h nats.Header)) Option {
	return option(func(o *options) {
		if o.inject = f; f == nil {
			o.wrong("Inject: nil function")
		}
	})
}

// Concurrency limits how many calls run at the same time, each on a goroutine of its own. Default: 1,000.
func Concurrency(n int) HandleOption {
	return handleOption(func(o *handleOptions) {
		if o.concurrency = n; n < 1 || n > math.MaxInt32 {
			o.wrong("Concurrency %d: 1 to %d", n, math.MaxInt32)
		}
	})
}

// Queue limits how many calls wait, in their order, while as many run as may. Beyond it callers hear [ErrBusy] at once. Default: 1,000.
func Queue(n int) HandleOption {
	return handleOption(func(o *handleOptions) {
		if o.queue = n; n < 0 || n > math.MaxInt32 {
			o.wrong("Queue %d: 0 to %d", n, math.MaxInt32)
		}
	})
}

// Extract has a function take out of a request's headers what [Inject] put there. The context that it returns, made of the one that it
// was given, is the handler's. It is called on the handler's goroutine; if it panics, or returns nil, that is as if the handler panicked.
func Extract(f func(ctx context.Context, h nats.Header) context.Context) HandleOption {
	return handleOption(func(o *handleOptions) {
		if o.extract = f; f == nil {
			o.wrong("Extract: nil function")
		}
	})
}

func newOptions(role rolebus.Role, method string, opts []Option) (*options, error) {
	o := &options{shared: shared{codec: JSON}, timeout: defaultTimeout}
	o.apply(opts)
	if err := checkMethod(method); err != nil {
		o.errs = append(o.errs, err)
	}
	if role != "" || !o.named {
		if err := checkRole(role); err != nil {
			o.errs = append(o.errs, err)
		}
	}
	if o.hedge > 0 && !o.idempotent {
		o.wrong("Hedge: only for an Idempotent method, as it may run twice")
	}
	if o.sticky && o.keyed {
		o.wrong("Sticky: not beside %s, which picks a node for each key", o.picked)
	}
	return o, errors.Join(o.errs...)
}

func newHandleOptions(method string, opts []HandleOption) (*handleOptions, error) {
	o := &handleOptions{shared: shared{codec: JSON}, concurrency: 1000, queue: 1000}
	for i, opt := range opts {
		if opt == nil {
			o.wrong("option %d is nil", i+1)
			continue
		}
		opt.handle(o)
	}
	if err := checkMethod(method); err != nil {
		o.errs = append(o.errs, err)
	}
	return o, errors.Join(o.errs...)
}

// maxMethod is the largest size of a method's name, in bytes, in the form that stands in a subject.
const maxMethod = 200

func checkMethod(method string) error {
	size := len(rolebus.SubjectToken(method))
	if size == 0 || size > maxMethod || !utf8.ValidString(method) {
		return fmt.Errorf("%w: method %q: UTF-8 that takes 1 to %d bytes in a subject, not %d", rolebus.ErrBadName, clip(method), maxMethod, size)
	}
	return nil
}

func checkRole(role rolebus.Role) error {
	_, err := rolebus.NewNode(rolebus.NodeState{Name: "any", Roles: []rolebus.Role{role}})
	if err == nil {
		return nil
	}
	_, why, _ := strings.Cut(err.Error(), ": node by hand: ") // which is only made to find out
	return &opError{prefix + why, err}
}
