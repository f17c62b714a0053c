package hello

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	longest  = 30 * time.Second // that an Ask takes, whatever its context says
	attempts = 3                // at most, at a connection for one Ask
)

// Asker asks servers. Its methods may be called from many goroutines at once; its fields are set before, and not changed.
type Asker struct {
	// Secrets are those that the other may accept, the best one first; at most the first four count. It is asked for each question. Nil, or
	// none: nothing is proved or sealed, which is for loopback, and for TLS that does it.
	Secrets func() []string
	// TLS is the configuration of connections to a server with this name, as Ask is given it. If it has no ServerName, that is the name, or
	// the address's host. Nil, or nil returned: no TLS.
	TLS func(name string) *tls.Config
	// Dial connects. Nil: as a net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Spoken, if it is set, is told of each new connection which of the Secrets the other accepted: 0 for the first. It is quick, and is
	// called by several at once.
	Spoken func(address string, which int)

	idle time.Duration // how long a connection is kept; 0: kept for keptFor

	mu     sync.Mutex
	closed bool
	life   context.Context // ends with Close; made when first needed, as is what follows
	end    context.CancelFunc
	kept   map[destination]*link
	wg     sync.WaitGroup // of Asks
}

// destination is what a connection is made to.
type destination struct{ address, tlsName string }

// link is a connection to a server that has accepted one of our secrets.
type link struct {
	*line
	conn   net.Conn // below TLS: closing it never waits
	secret string
	mode   mode
	since  time.Time // it is kept
	timer  *time.Timer
}

// Ask sends a question to the server at an address and returns its answer, which is never nil. It blocks until then, or until ctx is over, but
// 30 s at most: then it drops the connection, since the other may be frozen.
//
// Between questions it keeps a connection to each address for half a minute. If one that was kept turns out to be broken, the question is asked
// again on a new one: so the server may hear it twice, though not when it failed to answer on a new one. It is safe to call from many
// goroutines; those that ask the same address at once have a connection each.
//
// The error is one of this package's if the other is not as we are; what ctx says, if it is over; net.ErrClosed after Close; or what
// the network says.
func (a *Asker) Ask(ctx context.Context, address, tlsName string, question []byte) ([]byte, error) {
	answer, err := a.ask(ctx, destination{address, tlsName}, question)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", address, err)
	}
	return answer, nil
}

func (a *Asker) ask(ctx context.Context, to destination, question []byte) ([]byte, error) {
	if len(question) > Most {
		return nil, fmt.Errorf("%w: a question of %d", ErrLong, len(question))
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	ctx, end, err := a.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if l := a.take(to); l != nil {
		answer, err := a.exchange(ctx, to, l, question)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrLong) {
			return answer, err
		}
	}
	for attempt := 1; ; attempt++ {
		answer, err := a.anew(ctx, to, question)
		if err == nil || ctx.Err() != nil || attempt == attempts || !errors.Is(err, errLost) && !errors.Is(err, errAgain) {
			return answer, err
		}
	}
}

// begin has Close wait for this Ask, and end it.
func (a *Asker) begin(ctx context.Context) (context.Context, func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, nil, net.ErrClosed
	}
	if a.life == nil {
		a.life, a.end = context.WithCancel(context.Background())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(a.life, func() { cancel(net.ErrClosed) })
	a.wg.Add(1)
	return ctx, func() {
		unlink()
		cancel(nil)
		a.wg.Done()
	}, nil
}

func (a *Asker) anew(ctx context.Context, to destination, question []byte) ([]byte, error) {
	l, err := a.connect(ctx, to)
	if err != nil {
		return nil, because(ctx, err)
	}
	return a.exchange(ctx, to, l, question)
}

// exchange asks on a connection, and keeps it if all is well.
func (a *Asker) exchange(ctx context.Context, to destination, l *link, question []byte) (answer []byte, err error) {
	release := guard(ctx, l.conn)
	if err = l.write(question); err == nil {
		answer, err = l.read(func() {})
	}
	if !release() && err == nil {
		_ = l.conn.Close() // its deadline is over, or will be any moment
		return answer, nil
	}
	if err != nil {
		_ = l.conn.Close()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("it closed the connection without an answer: %w", err)
		}
		return nil, because(ctx, err)
	}
	a.keep(to, l)
	return answer, nil
}

// guard has what waits for the connection end when ctx is over. If release is false, this has happened, or is about to.
func guard(ctx context.Context, conn net.Conn) (release func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// because is why something failed: the context, if that is over, and not what came of it.
func because(ctx context.Context, err error) error {
	over := ctx.Err()
	if over == nil {
		return err
	}
	if cause := context.Cause(ctx); cause != over {
		return fmt.Errorf("%w: %w", over, cause)
	}
	return over
}

func (a *Asker) connect(ctx context.Context, to destination) (*link, error) {
	dial := a.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", to.address)
	if err != nil {
		return nil, err
	}
	release := guard(ctx, conn)
	l, which, err := a.greet(ctx, conn, to)
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if a.Spoken != nil && l.mode == sealed {
		a.Spoken(to.address, which)
	}
	return l, nil
}

// greet says who we are, and learns whether the other is one of ours.
func (a *Asker) greet(ctx context.Context, conn net.Conn, to destination) (l *link, which int, err error) {
	secure, over, err := a.secure(ctx, conn, to)
	if err != nil {
		return nil, 0, err
	}
	secrets, m := distinct(a.Secrets)
	if m == sealed && len(secrets) == 0 {
		return nil, 0, fmt.Errorf("%w: this side's are empty", ErrForeign)
	}
	secrets = secrets[:min(len(secrets), spoken)]
	mine := newOpening(m)
	if _, err := secure.Write(mine[:]); err != nil {
		return nil, 0, lost(err)
	}
	theirs, err := readOpening(secure)
	switch {
	case err != nil && !over && theirs[0] == 0x15 && theirs[1] == 3: // an alert
		return nil, 0, fmt.Errorf("%w: the other speaks TLS, and this side does not", ErrTLS)
	case err != nil:
		return nil, 0, lost(err)
	case theirs == mine:
		return nil, 0, fmt.Errorf("%w: it echoes", ErrNone)
	case theirs.mode() == wantsTLS:
		return nil, 0, fmt.Errorf("%w: the other wants TLS, and this side does not speak it", ErrTLS)
	case theirs.mode() == sealed && m == inClear:
		return nil, 0, fmt.Errorf("%w: the other has one, and this side has none", ErrForeign)
	case theirs.mode() != m:
		return nil, 0, fmt.Errorf("%w: this side has one, and the other has none", ErrForeign)
	}
	pacts, err := proveAll(secure, secrets, &mine, &theirs)
	if err != nil {
		return nil, 0, lost(err)
	}
	p, which, err := readVerdict(secure, pacts, m)
	if err != nil {
		return nil, 0, err
	}
	ready, err := p.line(secure, true)
	if err != nil {
		return nil, 0, err
	}
	l = &link{line: ready, conn: conn, mode: m}
	if p != nil {
		l.secret = p.secret
	}
	return l, which, nil
}

// proveAll sends the proofs.
func proveAll(w io.Writer, secrets []string, mine, theirs *opening) (pacts []*pact, err error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	var proofs [spoken * len(proof{})]byte
	_, _ = rand.Read(proofs[:]) // so that nobody sees how many secrets there are
	for i, s := range secrets {
		p, err := newPact(s, mine, theirs)
		if err != nil {
			return nil, err
		}
		copy(proofs[i*len(proof{}):], p.asker[:])
		pacts = append(pacts, p)
	}
	_, err = w.Write(proofs[:])
	return pacts, err
}

func readVerdict(r io.Reader, pacts []*pact, m mode) (*pact, int, error) {
	var v verdict
	if _, err := io.ReadFull(r, v[:]); err != nil {
		return nil, 0, lost(err)
	}
	which := int(v[1])
	switch {
	case v[0] == foreign:
		return nil, 0, fmt.Errorf("%w: the other has another one", ErrForeign)
	case v[0] == full:
		return nil, 0, ErrFull
	case v[0] != welcome:
		return nil, 0, fmt.Errorf("%w: an unknown verdict %d", ErrNone, v[0])
	case m == inClear:
		return nil, 0, nil
	case which >= len(pacts) || !pacts[which].server.is(v[2:]):
		return nil, 0, fmt.Errorf("%w: the other says that it has ours, and cannot prove it", ErrForeign)
	}
	return pacts[which], which, nil
}

// lost marks what the network says, and a server that closes: that may be a server which made room for others, and is tried again.
func lost(err error) error {
	for _, is := range []error{ErrNone, ErrVersion, ErrTLS} {
		if errors.Is(err, is) {
			return err
		}
	}
	if refusedByTLS(err) {
		return fmt.Errorf("%w: %w", ErrTLS, err)
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// Close ends every Ask, with net.ErrClosed, and all connections, and returns when that has happened. It is safe to call twice.
func (a *Asker) Close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		if a.end != nil {
			a.end()
		}
		for to, l := range a.kept {
			a.drop(to, l)
		}
	}
	a.mu.Unlock()
	a.wg.Wait()
}
