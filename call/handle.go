package call

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
)

// Handle has this process handle a method in a scope: f is called for each call of it that comes to this life of this node, whatever the
// role by which it was found. Its context ends when the caller's time is up, or the caller cancels or goes away, or this process does;
// it need not look at it, but nobody hears its answer then. Calls run at the same time: see [Concurrency] and [Queue].
//
// What f returns is the caller's: the output, or a [*RemoteError] with the text of the error and the code of [Error]. If it panics, or ends
// its goroutine, the caller hears of that ([CodePanic]), and it is logged with the stack, on standard error if the logger does not take
// errors.
//
// Give the role after its methods are handled: a call that comes before gets [ErrNoMethod], which a [Retry] tries elsewhere. If this node
// has roles already, Handle waits for a round trip, so that the server knows of it when it returns. The scope need not be joined: it is
// handled in each stay, from before anybody can see it. When the scope is left, or the Bus shuts down, the roles go first, then what is new
// is refused ([ErrDraining]) and what runs is finished, and then the node says goodbye: see [rolebus.Scope.OnLeave]. [rolebus.Bus.Close] waits for nothing: it cancels the handlers.
//
// The error matches [rolebus.ErrClosed], also as soon as [rolebus.Bus.Shutdown] has begun, [rolebus.ErrReadOnly] for an observer,
// [rolebus.ErrBadName], [ErrHandled] if this process handles the method in the scope already, or names everything that is wrong with the options.
func Handle[In, Out any](s *rolebus.Scope, method string, f func(context.Context, In) (Out, error), opts ...HandleOption) (*Endpoint, error) {
	o, err := newHandleOptions(method, opts)
	if f == nil {
		err = errors.Join(err, errors.New("nil function"))
	}
	if s == nil || s.Bus() == nil {
		return nil, refusedHandle(s, method, errors.Join(err, errors.New("nil scope")))
	}
	e := &Endpoint{
		server: serverOf(s), scope: s, method: method, opts: o, calls: map[string]*serving{}, unleave: func() bool { return false },
		log:   s.Bus().Logger().With("scope", s.Name(), "method", method),
		stats: EndpointStats{Since: time.Now()},
	}
	var wrong error
	if e.hooks, wrong = newHooks(o.given, e.log); err != nil || wrong != nil {
		return nil, refusedHandle(s, method, errors.Join(err, wrong))
	}
	e.codec = o.codec.ContentType()
	e.handle = func(ctx context.Context, msg *nats.Msg) ([]byte, error) {
		if o.extract != nil {
			if ctx = o.extract(ctx, msg.Header); ctx == nil {
				panic("Extract: nil context")
			}
		}
		in, err := decode[In](o.codec, msg.Data)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotDecoded, err)
		}
		out, err := f(ctx, in)
		if err != nil {
			sound(err)
			return nil, err
		}
		data, err := encode(o.codec, out)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotEncoded, err)
		}
		return data, nil
	}
	if err := e.open(); err != nil {
		return nil, refusedHandle(s, method, err)
	}
	return e, nil
}

// What went wrong before the handler ran, and after it.
var (
	errNotDecoded = errors.New("the input")
	errNotEncoded = errors.New("the output")
)

// sound asks a handler's error what it will be asked later, where no panic is survived: one that panics then, as a nil pointer that is an
// error does, is a panic of the handler.
func sound(err error) {
	_, _, _ = err.Error(), codeOf(err), errors.Is(err, context.DeadlineExceeded)
}

func refusedHandle(s *rolebus.Scope, method string, err error) error {
	return &opError{fmt.Sprintf("%shandle %q in scope %q: %s", prefix, clip(method), clip(nameOf(s)), plain(err)), err}
}

// opError is an error whose text has our prefix once.
type opError struct {
	text  string
	cause error
}

func (e *opError) Error() string { return e.text }
func (e *opError) Unwrap() error { return e.cause }

// open begins to listen.
func (e *Endpoint) open() error {
	base, end := context.WithCancelCause(context.Background())
	stop := context.AfterFunc(e.server.bus.Context(), func() { end(errClosing); e.dropWaiting() })
	e.base, e.end = base, func(cause error) { stop(); end(cause) }
	err := e.server.add(e)
	if err != nil {
		e.end(errClosing)
		return err
	}
	e.sub, err = e.scope.Listen(kindOfSubject, e.method, e.hear)
	if err != nil {
		e.server.remove(e)
		e.end(errClosing)
		return err
	}
	e.server.service.changed()
	e.unleave = e.scope.OnLeave(e.leave)
	e.announced()
	return nil
}

// announced waits until the server knows that the method is heard, if this node may be picked already: what another process calls from now
// on would else find nobody.
func (e *Endpoint) announced() {
	if e.scope.MyRoles().Len() == 0 || !e.server.bus.Connected() {
		return
	}
	ctx, cancel := context.WithTimeout(e.server.bus.Context(), serviceRetry)
	defer cancel()
	_ = e.server.bus.Conn().FlushWithContext(ctx) // else it is heard a moment later
}

// server is what all endpoints of a scope share.
type server struct {
	scope *rolebus.Scope
	bus   *rolebus.Bus
	self  string

	service *service

	mu        sync.Mutex
	endpoints map[string]*Endpoint
}

type serverKey struct{}

func serverOf(s *rolebus.Scope) *server {
	return s.Keep(serverKey{}, func() any {
		srv := &server{scope: s, bus: s.Bus(), self: s.Bus().Name(), endpoints: map[string]*Endpoint{}}
		srv.service = newService(s, srv.handled, srv.reply)
		return srv
	}).(*server)
}

// handled returns what there is, as its service sees it.
func (s *server) handled() []handled {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]handled, 0, len(s.endpoints))
	for _, e := range s.endpoints {
		all = append(all, e)
	}
	return all
}

func (s *server) endpoint(method string) *Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endpoints[method]
}

func (s *server) add(e *Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoints[e.method] != nil {
		return ErrHandled
	}
	s.endpoints[e.method] = e
	return nil
}

func (s *server) remove(e *Endpoint) {
	if e.sub != nil {
		e.sub.Stop()
	}
	s.mu.Lock()
	if s.endpoints[e.method] == e {
		delete(s.endpoints, e.method)
	}
	s.mu.Unlock()
	s.service.changed()
}

// reply returns how a message is answered; nil if there is nobody to answer, or an answer would mean something where it is to go.
func (s *server) reply(msg *nats.Msg) func(*nats.Msg) error {
	if !s.bus.Answerable(msg.Reply) {
		return nil
	}
	return func(answer *nats.Msg) error { return s.answer(msg.Reply, *answer) }
}

// answer answers over NATS.
func (s *server) answer(to string, msg nats.Msg) error {
	nc := s.bus.Conn()
	if len(msg.Header) == 0 {
		return nc.Publish(to, msg.Data)
	}
	msg.Subject = to
	return nc.PublishMsg(&msg)
}
