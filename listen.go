package rolebus

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// What is sent to one life of one node.

// Address returns the subject that one life of a node of this scope hears, and no other life, node, scope or fleet:
//
//	<bucket>.<kind>.<scope>.<node>.<incarnation>.<name>
//
// with the scope, the node and the name as [SubjectToken] writes them. That node hears it if it has a function there: [Scope.Listen].
// The kind keeps packages apart that build on the bus: letters, digits, - and _, and none of the protocol's own, which are changes,
// lease, probe, suspect and witness. The name is UTF-8, and takes 1 to 200 bytes as a token. Anything else is a panic, as is a nil
// node, and so is a scope whose name is bad.
func (s *Scope) Address(kind string, n *Node, name string) string {
	must(s.made())
	if n == nil {
		panic(prefix + "nil node")
	}
	must(failed("address", s.checkAddress(kind, name)))
	return s.bus.opts.subjects().address(kind, s.name, n.name, n.id.incarnation, name)
}

// Subject returns a subject that all of this scope share, of a kind and a name, as those of [Scope.Address] are:
//
//	<bucket>.<kind>.<scope>.<name>
//
// Whoever subscribes to it hears what is sent there, as with any subject ([Bus.Subscribe]). Anything else than a kind and a name as Address
// takes them is a panic, and so is a scope whose name is bad.
func (s *Scope) Subject(kind, name string) string {
	must(s.made())
	must(failed("subject", s.checkAddress(kind, name)))
	return s.bus.opts.subjects().shared(kind, s.name, name)
}

func (s *Scope) checkAddress(kind, name string) error {
	if s.bad != nil {
		return s.bad
	}
	if err := checkKind(kind); err != nil {
		return err
	}
	return checkName("name", name)
}

// Listen has a function called with each message that is sent to this node's [Scope.Address] of a kind and a name, in whatever life it
// is: each life is listened for before anybody can know of it, because it is subscribed before its record is written. So whoever finds
// this node in a snapshot finds somebody who listens. In a scope that is joined already it is in force at once, as a [Bus.Subscribe]
// is; in one that is not, from the next join on.
//
// It ends with stop, and with the Bus. [Bus.Leave] interrupts it, after the goodbye, until the scope is joined again. The function is
// called as one of Subscribe is, also when one life follows another: with one message after another.
//
// The error matches [ErrReadOnly] for an observer, which has no life, [ErrBadName] for a kind, a name or a scope that cannot be one
// (see [Scope.Address]), [ErrClosed] if the Bus has stopped, or a [Bus.Shutdown] has begun, or is that of nats.go.
func (s *Scope) Listen(kind, name string, handle func(*nats.Msg)) (*Subscription, error) {
	if handle == nil {
		panic(prefix + "nil function")
	}
	if err := s.made(); err != nil {
		return nil, failed("listen", err)
	}
	err := s.writable(context.Background())
	if err == nil && s.bus.giving.Err() != nil { // who would be heard from now on would find nobody
		err = s.bus.refusedOr(context.Background())
	}
	if err == nil {
		err = s.checkAddress(kind, name)
	}
	if err != nil {
		return nil, s.opErr("listen", err)
	}
	sub := &Subscription{ear: newEar(handle), ears: &s.ears, kind: kind, name: name}
	if err := s.ears.add(sub); err != nil {
		return nil, s.opErr("listen", err)
	}
	return sub, nil
}

// ears are those of a scope.
type ears struct {
	lend func(*Subscription, uint64) (*lasting, error) // subscribes to the address of a life

	mu   sync.Mutex
	life uint64 // the incarnation that is listened for; 0 while there is none
	all  map[*Subscription]bool
}

func newEars(s *Scope) ears {
	return ears{all: map[*Subscription]bool{}, lend: func(sub *Subscription, incarnation uint64) (*lasting, error) {
		subject := s.bus.opts.subjects().address(sub.kind, s.name, s.bus.opts.node, incarnation, sub.name)
		return s.bus.nc.lend(subject, sub.ear)
	}}
}

func (e *ears) add(sub *Subscription) (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life > 0 {
		if sub.lasting, err = e.lend(sub, e.life); err != nil {
			return err
		}
	}
	e.all[sub] = true
	return nil
}

func (e *ears) drop(sub *Subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.all, sub)
	sub.rest(false)
}

// open listens for another life, and for the one before no more.
func (e *ears) open(incarnation uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for sub := range e.all {
		if e.life != incarnation {
			sub.rest(false)
		}
		if sub.lasting == nil {
			var err error
			sub.lasting, err = e.lend(sub, incarnation)
			errs = append(errs, err)
		}
	}
	e.life = incarnation
	return errors.Join(errs...)
}

// close listens for no life any more.
func (e *ears) close(hurry bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.life = 0
	for sub := range e.all {
		sub.rest(hurry)
	}
}

// rest ends what is subscribed for a life. The caller holds the mu of ears.
func (sub *Subscription) rest(hurry bool) {
	if sub.lasting != nil {
		sub.lasting.stop(hurry)
		sub.lasting = nil
	}
}
