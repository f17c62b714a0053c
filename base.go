package rolebus

import (
	"context"
	"log/slog"
	"sync"
)

// What a package that builds on the bus needs of it, to be one thing with it: its log, its end, its place to keep things.

// Bus returns the Bus whose scope it is.
func (s *Scope) Bus() *Bus {
	must(s.made())
	return s.bus
}

// Incarnation returns the number of this life of this process's own node in the scope, as [Node.Incarnation] tells it to others; 0 while it
// has none: the scope is not joined, or the process is an observer. A node of this process's name with another number in a snapshot is
// another process, which takes this one's place.
func (s *Scope) Incarnation() uint64 {
	must(s.made())
	if m := s.member.Load(); m != nil {
		return m.own.Load()
	}
	return 0
}

// Bucket returns the name of the bucket, see [WithBucket]: it is also the first token of the fleet's subjects.
func (b *Bus) Bucket() string {
	must(b.made())
	return b.opts.bucket
}

// Logger returns the logger of [WithLogger], which says of each line whose "node" it is; one that logs nothing if there is none. It
// is for packages that build on the bus. Never nil.
func (b *Bus) Logger() *slog.Logger {
	must(b.made())
	return b.opts.log.With("node", b.opts.node)
}

// Context returns a context that is over, with what [Bus.Err] says as its cause, as soon as the Bus begins to stop: before goodbyes
// are said. [Bus.Shutdown] ends it when the functions of [Bus.OnShutdown] have returned.
func (b *Bus) Context() context.Context {
	must(b.made())
	return b.ctx
}

// Go runs a function on a goroutine that [Bus.Close] and [Bus.Done] wait for, however long it takes: it must return when its context
// is over, which is that of [Bus.Context]. The error matches [ErrClosed] if the Bus stops already; then the function is not called. A
// panic is not caught. f must not be nil.
func (b *Bus) Go(f func(ctx context.Context)) error {
	if f == nil {
		panic(prefix + "nil function")
	}
	if err := b.made(); err != nil {
		return failed("go", err)
	}
	if err := b.goWhileOpen(func() { f(b.ctx) }); err != nil {
		return failed("go", b.endedOr(context.Background()))
	}
	return nil
}

// Keep returns what a package that builds on the bus keeps for this scope, for as long as the Bus exists: the first call makes it, and
// all later ones with an equal key return the same, joined or not. Who calls while it is made waits for that; make must not ask for
// what it makes. If make panics, each call does.
//
// The key must be comparable, and of a type of the package's own, as that of context.WithValue, so that no two packages meet. It must
// not be nil, nor must make.
func (s *Scope) Keep(key any, make func() any) any {
	must(s.made())
	if key == nil || make == nil {
		panic(prefix + "nil key or function")
	}
	return s.kept.get(key, make)()
}

// kept are the things that packages keep, each made by a function that does so once.
type kept struct {
	mu  sync.Mutex
	all map[any]func() any
}

func (k *kept) get(key any, first func() any) func() any {
	k.mu.Lock()
	defer k.mu.Unlock()
	thing, is := k.all[key]
	if !is {
		if k.all == nil {
			k.all = map[any]func() any{}
		}
		thing = sync.OnceValue(first) // called without the lock: it is the user's code
		k.all[key] = thing
	}
	return thing
}

// Answerable says whether an answer may go to the reply subject that came with a message: there is one, and a message there would mean nothing
// to a server or to the fleet's own processes. Who answers wherever it is told to writes into the bucket, say, with its own rights, whatever
// a stranger wants to stand there.
func (b *Bus) Answerable(reply string) bool {
	must(b.made())
	return reply != "" && !b.opts.subjects().means(reply)
}
