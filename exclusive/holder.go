package exclusive

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolebus/rolebus"
)

// Held says who has a name, or a seat of it.
type Held struct {
	Name        string
	Seat        int
	Node        string // "" if nobody has it
	Incarnation uint64
	Token       uint64
	Since       time.Time // when the term began, by the server's clock
}

// Holder returns who has a name now, as far as this process knows: it is what the bucket has said last, and may be behind by as much as a message is
// on its way. False if nobody has it: none has claimed it, it was given up, or the holder is gone. Of a name with [Seats] it is about the first one.
//
// The scope must be joined, by a member or an observer: in any other nobody is known to be alive. It is read from memory; the first call in a scope
// has the bucket read, and waits for that for some seconds at most. Whoever calls it after that does not wait: until the bucket could be read nobody is
// known to have a name.
func Holder(s *rolebus.Scope, name string) (Held, bool) {
	b := bookOf(s)
	if !b.known(kindName) {
		return Held{}, false
	}
	snap := b.scope.Snapshot()
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.heldLocked(name, 0, snap)
	return h, h.Node != ""
}

// Holders returns who has the seats of a name now, by the numbers of the seats; see [Holder].
func Holders(s *rolebus.Scope, name string) (all []Held) {
	b := bookOf(s)
	if !b.known(kindName) || !b.known(kindSeat) {
		return nil
	}
	snap := b.scope.Snapshot()
	b.mu.Lock()
	defer b.mu.Unlock()
	seats := []int{0}
	for p := range b.posts {
		if of, number, ok := cutLast(p.name); ok && p.kind == kindSeat && of == name {
			seats = append(seats, number)
		}
	}
	slices.Sort(seats)
	for _, seat := range seats {
		if h := b.heldLocked(name, seat, snap); h.Node != "" {
			all = append(all, h)
		}
	}
	return all
}

// cutLast takes the number of a seat from a name.
func cutLast(text string) (name string, seat int, ok bool) {
	at := strings.LastIndexByte(text, '/')
	if at < 0 {
		return "", 0, false
	}
	seat, err := strconv.Atoi(text[at+1:])
	return text[:at], seat, err == nil && seat > 0 && strconv.Itoa(seat) == text[at+1:]
}

// firstReading is how long Holder waits for the bucket when it has not been read yet. Who comes later does not wait again.
const firstReading = 5 * time.Second

// known waits until the book knows what the bucket has of a kind.
func (b *book) known(kind string) bool {
	sh, err := b.open(kind)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithDeadline(context.Background(), sh.opened.Add(firstReading))
	defer cancel()
	_, err = b.ready(ctx, kind)
	return err == nil
}

func (b *book) heldLocked(name string, seat int, snap *rolebus.Snapshot) Held {
	h := Held{Name: name, Seat: seat}
	k := b.posts[seatOf(name, seat)]
	if k == nil || k.claim.token == 0 || k.resigned || !snap.Lives(k.claim.node, k.claim.incarnation) {
		return h
	}
	h.Node, h.Incarnation, h.Token, h.Since = k.claim.node, k.claim.incarnation, k.claim.token, k.claim.since
	return h
}

// Watch returns who has a name now, and then who has it whenever that changes: a Held without a node if nobody has it any more. At first nothing
// is told of a name, or a seat, that nobody has. A slow reader misses steps, never the end. With [Seats] it tells of so many seats; other options mean nothing.
//
// The sequence ends when ctx is over and when the Bus stops; without a ctx, or for a name or a number of seats that cannot be one, at once.
func Watch(ctx context.Context, s *rolebus.Scope, name string, opts ...Option) iter.Seq[Held] {
	b := bookOf(s)
	o, err := newOptions(opts)
	return func(yield func(Held) bool) {
		if err != nil || ctx == nil || checkSeats(name, o.seats) != nil {
			return
		}
		var posts []post
		told := make([]Held, o.seats)
		for seat := range told {
			told[seat] = Held{Name: name, Seat: seat}
			posts = append(posts, seatOf(name, seat))
		}
		for _, kind := range []string{kindName, kindSeat} {
			if kind == kindSeat && o.seats == 1 {
				break
			}
			if _, err := b.ready(ctx, kind); err != nil {
				return
			}
		}
		wake := make(chan struct{}, 1)
		defer b.await(posts, wake)()
		for ctx.Err() == nil && b.bus.Context().Err() == nil {
			for seat := range told {
				b.mu.Lock()
				h := b.heldLocked(name, seat, b.scope.Snapshot())
				b.mu.Unlock()
				if h == told[seat] {
					continue
				}
				if told[seat] = h; ctx.Err() != nil || !yield(h) {
					return
				}
			}
			select {
			case <-wake:
			case <-ctx.Done():
			case <-b.bus.Context().Done():
			}
		}
	}
}
