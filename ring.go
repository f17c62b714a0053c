package rolebus

import (
	"context"
	"time"
)

// The ring in which nodes look after each other. It is sorted by a hash of the names, so that the processes of one host, whose names
// are alike, are no neighbours. Every language can compute it, so docs/PROTOCOL.md describes it.

// spot is where a name stands in the ring. Of two that stand in one place the one comes first that does in the alphabet.
type spot struct {
	place uint64
	name  string
}

func spotOf(name string) spot { return spot{scatter(hashText(name)), name} }

// successor returns the node that follows on a name in the ring of those listed; nil if there is nobody else. It looks at every
// node: that takes some nanoseconds for each, and happens some times in a round.
func (snap *Snapshot) successor(name string) *Node {
	if n := snap.after(spotOf(name)); n != nil && n.name != name {
		return n
	}
	return nil
}

// after returns the first node behind a spot, behind the last the first; nil if there is none.
func (snap *Snapshot) after(from spot) *Node {
	var next, last *Node
	var nearest uint64
	for _, n := range snap.members.all(nil) {
		switch far := scatter(n.hash) - from.place; {
		case far == 0 && n.name <= from.name: // once round
			if last == nil || n.name < last.name {
				last = n
			}
		case next == nil || far < nearest || far == nearest && n.name < next.name:
			next, nearest = n, far
		}
	}
	if next == nil {
		return last
	}
	return next
}

const (
	answersPerRound = 8  // past so many that answer, and ask nobody, the next one is looked for
	asksPerRound    = 85 // and past so many in all
	askOn           = 4  // times as many are asked at once after those of whom none answered
)

// walk asks those that follow in the ring, up to the first that answers and asks in its turn. The next one after it is that
// one's to ask. Where nobody answers, or not soon, it asks on at once, ever more at a time: all that follow may have died together.
// Where there are many that ask nobody it goes on in the next round where it stopped. An observer always does.
func (p *prober) walk(ctx context.Context, snap *Snapshot) (asked bool) {
	from := p.stopped
	if p.self != "" && snap.named.get(from) == nil {
		from = p.self
	}
	p.stopped = ""
	replies := make(chan finding, asksPerRound)
	for all, answers, batch, left := 0, 0, 1, snap.members.len(); ; {
		waiting := 0
		for ; batch > 0 && left > 0 && all < asksPerRound; batch-- {
			n := snap.after(spotOf(from))
			if n.name == p.self {
				left = 0
				break
			}
			from = n.name
			left--
			if p.may(n) {
				p.look(ctx, n, replies)
				all++
				waiting++
			}
		}
		came, ended := p.firstReplies(ctx, replies, waiting)
		answers += came
		switch {
		case p.self == "" && (ended || came > 0 || left == 0 || all >= asksPerRound):
			p.stopped = from
			return all > 0
		case ended || left == 0 || snap.after(spotOf(from)).name == p.self:
			return all > 0
		case answers >= answersPerRound || all >= asksPerRound:
			p.stopped = from
			return true
		case came > 0:
			batch = 1
		default:
			batch = askOn * max(waiting, 1)
		}
	}
}

// firstReplies waits for the first replies of so many nodes that were asked, but not for long. It returns how many came of those who ask
// nobody, and whether the walk has ended.
func (p *prober) firstReplies(ctx context.Context, replies <-chan finding, waiting int) (passive int, ended bool) {
	late := time.NewTimer(p.soon())
	defer late.Stop()
	for ; waiting > 0; waiting-- {
		select {
		case f := <-replies:
			switch f {
			case asksInTurn:
				return passive, true
			case answered:
				passive++
			}
		case <-late.C:
			return passive, false
		case <-ctx.Done():
			return passive, true
		}
	}
	return passive, false
}

// soon is for how long an answer is waited for before others are asked: twice as long as the last one took, if that is more.
func (p *prober) soon() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(quickWay, 2*p.took)
}
