package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/rolebus/rolebus"
)

// Method is a method of the nodes that have a role in a scope, to be called as if it were a function. It holds no connection and needs
// no end. All its methods may be called from any goroutine.
type Method[In, Out any] struct {
	c   *caller
	key func(In) string // HashBy; nil: the encoded input, if a key is needed at all
}

// New makes a method to call. The scope need not be joined yet, and nobody need have the role. In and Out are what the nodes'
// handlers take and return, in the same encoding: see [Encoding]. The error names everything that is wrong with the options.
func New[In, Out any](s *rolebus.Scope, role rolebus.Role, method string, opts ...Option) (*Method[In, Out], error) {
	o, err := newOptions(role, method, opts)
	key, ok := o.key.(func(In) string)
	if o.key != nil && !ok {
		err = errors.Join(err, fmt.Errorf("HashBy: a %T, but the input is a %v", o.key, reflect.TypeFor[In]()))
	}
	c, wrong := newCaller(s, role, method, o)
	if err = errors.Join(err, wrong); err != nil {
		return nil, &CallError{Scope: nameOf(s), Role: role, Method: method, Err: err}
	}
	return &Method[In, Out]{c: c, key: key}, nil
}

// Func is [New] as a plain function: what [Method.Call] does. It panics if an option is wrong.
func Func[In, Out any](s *rolebus.Scope, role rolebus.Role, method string, opts ...Option) func(context.Context, In) (Out, error) {
	m, err := New[In, Out](s, role, method, opts...)
	if err != nil {
		panic(err.Error())
	}
	return m.Call
}

// Call calls the method on one of the nodes, and returns what its handler returned. Which one is chosen anew for each attempt, from the
// newest snapshot: see [Random] and the options beside it.
//
// Unless the method is [Idempotent] it runs at most once, whatever happens. Every error is a [*CallError] that tells what is known of each
// attempt; it matches one of the errors of this package, [rolebus.ErrClosed], [rolebus.ErrNotJoined], the error of ctx and its cause, unless
// that is of another call, or is a [*RemoteError]. Call returns when ctx is over; who works for it is told so. (A server that hangs while so much is sent
// that the system's buffers are full holds up whatever sends, for as long as nats.FlusherTimeout says: docs/OPERATING.md.)
func (m *Method[In, Out]) Call(ctx context.Context, in In) (Out, error) {
	return m.call(ctx, &call{}, in)
}

// CallNode calls the method on one life of one node of the scope, whatever its roles: retries go there, too, while it is listed.
func (m *Method[In, Out]) CallNode(ctx context.Context, node *rolebus.Node, in In) (Out, error) {
	return m.call(ctx, &call{fixed: node, given: true}, in)
}

func (m *Method[In, Out]) call(ctx context.Context, call *call, in In) (out Out, err error) {
	began := time.Now()
	data, err := m.encode(ctx, in, call)
	if err == nil {
		data, err = m.c.call(ctx, call, data)
	}
	if err == nil {
		if out, err = decode[Out](m.c.opts.codec, data); err != nil {
			call.last.Ran, call.last.Err = RanYes, err
			call.attempts = append(call.attempts, call.last)
		}
	}
	return out, m.c.ended(ctx, call, began, err)
}

var errNilContext = errors.New("nil context")

// encode turns the input into bytes, and into the key by which a node is picked.
func (m *Method[In, Out]) encode(ctx context.Context, in In, call *call) (data []byte, err error) {
	switch {
	case m == nil || m.c == nil:
		panic(prefix + "a method that is not made by New")
	case ctx == nil:
		return nil, errNilContext
	case call.given && call.fixed == nil:
		return nil, because(ErrNoNode, "nil node")
	}
	if data, err = encode(m.c.opts.codec, in); err != nil {
		return nil, err
	}
	if m.c.opts.keyed {
		call.key, err = m.keyOf(in, data)
	}
	return data, err
}

func (m *Method[In, Out]) keyOf(in In, data []byte) (key string, err error) {
	if m.key == nil {
		return string(data), nil
	}
	defer func() {
		if fault := recover(); fault != nil {
			err = because(ErrChoice, "HashBy: panic: %v", fault)
		}
	}()
	return m.key(in), nil
}

// Unstick lets go of the node that [Sticky] stays with; the next call picks one anew.
func (m *Method[In, Out]) Unstick() { m.c.chooser.stuck.Store(nil) }

// String returns the role and the method.
func (m *Method[In, Out]) String() string { return string(m.c.role) + "." + m.c.method }

// caller is a Method without its types.
type caller struct {
	client  *client
	scope   *rolebus.Scope
	role    rolebus.Role
	method  string
	opts    *options
	chooser *chooser
	request request // without data
	hooks   *hooks
	log     *slog.Logger
}

func newCaller(s *rolebus.Scope, role rolebus.Role, method string, o *options) (*caller, error) {
	if s == nil {
		return nil, errors.New("nil scope")
	}
	if bad := s.Err(); errors.Is(bad, rolebus.ErrBadName) {
		return nil, bad
	}
	c := &caller{client: clientOf(s), scope: s, role: role, method: method, opts: o}
	c.log = s.Bus().Logger().With("scope", s.Name(), "role", string(role), "method", method)
	var err error
	c.hooks, err = newHooks(o.given, c.log)
	var pick picker = anyOne{}
	switch {
	case o.keyed:
		pick = owner{}
	case o.loads:
		pick = &c.client.loads
		c.client.count.Store(true)
	case o.pick != nil:
		pick = o.pick()
	}
	c.chooser = &chooser{scope: s, role: role, self: c.client.self, opts: o, picker: pick}
	kind := o.codec.ContentType()
	c.request = request{method: method, codec: kind, header: typeHeader(kind), timeout: o.timeout, inject: o.inject}
	return c, err
}

func nameOf(s *rolebus.Scope) string {
	if s == nil {
		return ""
	}
	return s.Name()
}

// failed makes the error of a call.
func (c *caller) failed(attempts []Attempt, err error) error {
	return &CallError{Scope: c.scope.Name(), Role: c.role, Method: c.method, Attempts: attempts, Err: err}
}

// ended tells of a call that has ended, and returns its error.
func (c *caller) ended(ctx context.Context, call *call, began time.Time, err error) error {
	if ctx == nil { // which is why it failed
		ctx = context.Background()
	}
	if err != nil {
		err = c.failed(call.attempts, err)
	}
	level := slog.LevelDebug
	if err != nil {
		level = slog.LevelError
	}
	tells := c.log.Enabled(ctx, level)
	if !tells && c.hooks == nil {
		return err
	}
	took := time.Since(began)
	c.hooks.tellCall(CallInfo{
		Scope: c.scope.Name(), Role: c.role, Method: c.method, Node: call.last.Node, Attempts: call.made, Took: took, Err: err,
	})
	if tells {
		attrs := []any{"attempts", call.made, "took", took}
		if call.last.Node != nil {
			attrs = append(attrs, "callee", call.last.Node.Name(), "incarnation", call.last.Node.Incarnation())
		}
		if err != nil {
			attrs = append(attrs, "error", discreet(err))
		}
		c.log.Log(ctx, level, "call", attrs...)
	}
	return err
}
