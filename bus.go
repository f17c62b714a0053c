package rolebus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Bus is one process's place in the fleet. It is also its default scope: b.AddRoles, b.Nodes and the like are those of
// that scope, and [Bus.In] reaches the others. All methods may be called from any goroutine.
type Bus struct {
	*Scope // the default scope

	opts    *options
	nc      *trunk
	dialer  *dialer // of a connection that is ours to make, and to close; nil for a borrowed one
	store   store
	entries entryStore
	peers   peers // nil: nobody can be asked
	clock   *clock
	pace    *pace
	machine *machine
	parting chan struct{} // poked when wall and monotonic time are found apart
	noise   *noise
	fleet   *identity
	hooks   *hooks // nil if there are none

	lives   incarnations
	shelves shelves

	ctx    context.Context // over, with the cause, when the Bus begins to stop
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	giving context.Context // over, with the cause, when no role is given and no scope is joined any more
	parted chan struct{}   // closed when every goodbye was said, or given up
	done   chan struct{}   // closed when everything has stopped

	patience context.Context // over when whoever ends the Bus waits for nothing more
	hurry    context.CancelFunc

	stopGiving context.CancelCauseFunc
	drain      *drain
	farewells  atomic.Int64 // for how long goodbyes are tried again; 0 for the request timeout

	mu       sync.Mutex
	scopes   map[string]*Scope // every handle that was asked for
	stays    map[*member]bool  // those that have begun and not ended
	ahead    time.Time         // when the server's clock was last found ahead of what it should be; zero: never
	serving  bool              // handlers have been started
	unserved []*member         // those that began before
	meta     map[string]string // of this node, in every scope; never changed in place
	handlers []*dispatch       // one per stay, if there is a handler
	closeErr error             // set before done is closed

	suspect   func() // has the bucket's settings looked at soon; nil: nobody does
	toldDeaf  sync.Once
	attesting sync.Mutex
	attested  string // the server that this process was connected to last
	unattest  func() // ends the witness for it
}

func newBus(o *options, n *noise, st store) *Bus {
	b := &Bus{
		opts: o, store: st, noise: n, meta: o.meta, parted: make(chan struct{}), done: make(chan struct{}),
		scopes: map[string]*Scope{}, stays: map[*member]bool{}, parting: make(chan struct{}, 1),
	}
	b.machine = newMachine(o.ttl)
	b.pace = &pace{ttl: o.ttl}
	b.clock = newClock(st, b.machine, o, b.jumped, b.askAnew, b.awake)
	b.hooks, n.hooks = o.hooks, o.hooks
	b.fleet = newIdentity(o.bucket, o.log, b.relocated)
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	b.giving, b.stopGiving = context.WithCancelCause(b.ctx)
	b.drain = newDrain("OnShutdown", "shut down", o.log.With("node", o.node))
	b.patience, b.hurry = context.WithCancel(context.Background())
	b.Scope = b.In(o.defaultScope)
	return b
}

// open joins the scopes that were asked for; after an error the Bus is closed.
func (b *Bus) open(ctx context.Context, waited bool) error {
	err := b.openAll(ctx, waited)
	if err != nil {
		_ = b.giveUp(ctx)
	}
	return err
}

func (b *Bus) openAll(ctx context.Context, waited bool) error {
	err := b.listen()
	b.wg.Go(b.watchMachine)
	go b.run() // joined by Close, which waits for done
	if err != nil {
		return err
	}
	for _, name := range b.opts.scopes {
		var roles []Role
		if name == b.opts.defaultScope {
			roles = b.opts.roles
		}
		m, _, err := b.In(name).join(ctx, roles)
		if err != nil {
			return fmt.Errorf("join scope %q: %w", name, err)
		}
		if waited {
			m.trust.shake(time.Now())
		}
	}
	if b.opts.allScopes {
		if err := b.explore(ctx); err != nil {
			return err
		}
	}
	b.serveAll()
	return nil
}

// Name returns the name of this process's node, also for an observer, whom others do not see. That of the default scope is
// b.Scope.Name().
func (b *Bus) Name() string {
	must(b.made())
	return b.opts.node
}

// IsLocal says whether a node's name is this process's own.
func (b *Bus) IsLocal(node string) bool { return node == b.Name() }

// self is the name of this process's own node, "" if it has none.
func (b *Bus) self() string {
	if b.opts.observer {
		return ""
	}
	return b.opts.node
}

// In returns the handle on a scope, always the same for the same name, without joining it: its reads find nothing
// until it is joined, by [Bus.Join] or by adding a role. A name that cannot be a scope's gets a handle, too; its writes
// return [ErrBadName], as its Err does, and its watches end at once.
func (b *Bus) In(scope string) *Scope {
	must(b.made())
	return b.handle(scope, true)
}

// handle returns the handle on a scope. One that a user has asked for is kept for ever.
func (b *Bus) handle(scope string, asked bool) *Scope {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.scopes[scope]
	if s == nil {
		s = newScope(b, scope)
		b.scopes[scope] = s
	}
	s.asked = s.asked || asked
	return s
}

// isJoined says whether a scope is joined, without making a handle of a name that was only heard.
func (b *Bus) isJoined(scope string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.scopes[scope]
	return s != nil && s.member.Load() != nil
}

// goWhileOpen runs a goroutine that Close waits for; it must end with b.ctx. It fails if the Bus stops.
func (b *Bus) goWhileOpen(f func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cause := context.Cause(b.ctx); cause != nil { // run takes the lock after that, before it waits
		return cause
	}
	b.wg.Go(f)
	return nil
}

// Join joins a scope and returns when its snapshot holds who is there, this node among them, without roles. The error
// matches [ErrAlreadyJoined], [ErrBadName], [ErrClosed], or is that of NATS or of ctx; after an error the scope is not joined.
func (b *Bus) Join(ctx context.Context, scope string) (*Scope, error) {
	if err := b.usable(ctx); err != nil {
		return nil, failed("join", err)
	}
	s := b.In(scope)
	if s.bad != nil {
		return nil, s.opErr("join", s.bad)
	}
	if err := ended(ctx); err != nil {
		return nil, s.opErr("join", err)
	}
	_, anew, err := s.join(ctx, nil)
	if err == nil && !anew {
		err = ErrAlreadyJoined
	}
	if err != nil {
		return nil, s.opErr("join", err)
	}
	return s, nil
}

// Scopes returns the names of the scopes that are joined, sorted.
func (b *Bus) Scopes() []string {
	must(b.made())
	var names []string
	for _, s := range b.joined() {
		names = append(names, s.name)
	}
	slices.Sort(names)
	return names
}

func (b *Bus) joined() []*Scope {
	b.mu.Lock()
	defer b.mu.Unlock()
	var joined []*Scope
	for _, s := range b.scopes {
		if s.member.Load() != nil {
			joined = append(joined, s)
		}
	}
	return joined
}

// handles returns every handle that was asked for.
func (b *Bus) handles() []*Scope {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.scopes))
}

// made says if the Bus is none.
func (b *Bus) made() error {
	if b == nil || b.done == nil {
		return errNotMade
	}
	return nil
}

// usable says what is wrong with a call of the Bus.
func (b *Bus) usable(ctx context.Context) error { return cmp.Or(b.made(), given(ctx)) }

// Conn returns the connection, to talk to those who were found. It is never nil. If [Connect] made it, it is the Bus's own: not to
// be closed or drained by others, and closed by [Bus.Close]. It stays the same, with one exception: when a server ends it with
// words that nats.go takes for the end, as that a message was too large for a limit that was lowered meanwhile, the Bus makes
// another one, and what you subscribed on the one before is gone. Ask again, by [nats.Conn.IsClosed] of the one you have, or when
// a hook hears of a connection. Whoever closes it all the same stops the Bus; whoever does so while it is lost does not: that looks
// like such words, which came just then.
func (b *Bus) Conn() *nats.Conn {
	must(b.made())
	return b.nc.conn()
}

// begin makes a stay, which hears of the connection, until forget. Under the same lock it gets its metadata: what is set before
// is in it, what is set afterwards reaches it.
func (b *Bus) begin(s *Scope, roles []Role) *member {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := newMember(s, wanted{roles, b.meta})
	b.stays[m] = true
	return m
}

func (b *Bus) forget(m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.stays, m)
}

// relocated has everything read and looked at again, because the bucket is another one.
func (b *Bus) relocated() {
	b.shelves.anew()
	for _, m := range b.staying() {
		m.relocated()
	}
}

// staying returns the stays that have begun and not ended.
func (b *Bus) staying() []*member {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.stays))
}
