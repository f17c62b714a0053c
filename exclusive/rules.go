package exclusive

import (
	"time"

	"github.com/rolebus/rolebus"
)

// The rules by which a process may take what another one had. They are pure: time, and what is seen of the nodes, go in.
//
// They rest on one fact. A holder is certain of its term for as long as the context of its lease lasts that it had before it claimed: by its own
// clock less than its TTL after the last heartbeat that the bucket took. A heartbeat is taken only beside the record of that life. So when
// that life has ended, or the bucket has lacked its record or taken no heartbeat, for a whole TTL, it is certain no more, whatever it hears, and whoever it is.
// A tombstone that the server wrote because that TTL had passed says so at once.

// standing is what this process knows of one post: what stands in the bucket, and what was heard of it before. What the bucket merely does
// not say is not a fact: a claim that is missing is remembered.
type standing struct {
	base     uint64    // the generation of what stands at the key, be it what it may; 0 if nothing does
	claim    claim     // the one that counts; the zero claim if none was ever heard of
	below    claim     // what stands at the key, if it is a claim with a smaller token; the zero claim if it is not
	largest  uint64    // the largest token that was ever heard of
	over     uint64    // that of the claim by which nobody can hold anything any more, where one with a smaller token counts
	stands   bool      // it is what stands at the key
	said     bool      // what stands at the key says so: it is the claim, or that it was given up
	resigned bool      // it was given up by its holder: this outlives what stands
	missed   time.Time // since when it has not stood; of no account where it was given up
	absent   time.Time // since when its life has not been alive, as this process sees it; zero while it is
	gone     time.Time // since when nothing is heard of it, as the stream's leader has it; zero if something is, or that was not asked since it was alive
	stood    time.Time // when something was, though this process sees no such life
	heard    uint64    // the generation of that
	ended    time.Time // since when there has been nothing to remember: given up, and not standing any more
}

// hear takes in what stands at the key now.
func (k *standing) hear(e rolebus.Entry, now time.Time) {
	k.base, k.below, k.said = e.Generation, claim{}, false
	c, err := decodeClaim(e.Value)
	older := err == nil && c.token < k.claim.token
	switch {
	case err != nil || older:
		k.lack(now) // garbage, somebody's delete, or what the bucket had before it went back
		if older && !e.Removed {
			k.below = c
		}
		return
	case c.token > k.claim.token || c.life != k.claim.life:
		*k = standing{base: e.Generation, claim: c, largest: max(k.largest, c.token)}
	}
	k.resigned = k.resigned || e.Removed
	k.said, k.stands = true, !e.Removed // a bucket that went back may have it again
	k.missed, k.ended = time.Time{}, time.Time{}
}

// adopt has a claim that stands at the key count although its token is smaller, once nobody can hold anything by the one that counted: somebody
// has made it who did not know of that one, or the bucket has gone back to it, and then its own process gives it up. A claim is idle
// if it is of this process itself, which holds nothing by it. It says whether that is so.
func (k *standing) adopt(idle bool, now time.Time) bool {
	over := k.resigned || idle || !k.absent.IsZero() && !now.Before(k.absent.Add(k.claim.ttl))
	if !over || k.below.token == 0 {
		return false
	}
	*k = standing{base: k.base, claim: k.below, stands: true, said: true, largest: k.largest, over: k.claim.token}
	return true
}

// lack takes in that the claim does not stand at the key.
func (k *standing) lack(now time.Time) {
	k.stands = false
	if k.missed.IsZero() {
		k.missed = now
	}
	if (k.resigned || k.claim.token == 0) && k.base == 0 && k.ended.IsZero() {
		k.ended = now
	}
}

// recall takes in a claim that the bucket lacks, as its holder has told it. What stands at the key may count again: see adopt.
func (k *standing) recall(c claim, now time.Time) {
	if c.token <= k.claim.token {
		return
	}
	below := k.below
	if k.stands {
		below = k.claim
	}
	*k = standing{base: k.base, claim: c, below: below, missed: now, largest: max(k.largest, c.token)}
}

// remind takes in a claim that somebody remembers, and whether it was given up. It says whether that is news. If it was, or what stands at the key is of
// this process itself, that counts all the same, though its token be smaller: somebody has claimed it who did not know of the other one.
func (k *standing) remind(c claim, resigned, own bool, now time.Time) bool {
	k.largest = max(k.largest, c.token)
	again := c.token == k.claim.token && c.life == k.claim.life && resigned && !k.resigned
	if k.stands && (resigned || own) || c.token <= max(k.claim.token, k.over) && !again {
		return false
	}
	k.recall(c, now)
	k.resigned = resigned
	return true
}

// look takes in whether the claim's life is alive.
func (k *standing) look(alive bool, now time.Time) {
	switch {
	case alive:
		k.absent, k.gone = time.Time{}, time.Time{}
	case k.absent.IsZero():
		k.absent = now
	}
}

// confirm takes in what was heard last of the claim's life, as the stream's leader has it: the generation of its record, or of a heartbeat. What this process
// sees of nodes may be older, or not begun yet. 0 is for a life that has no record. A record that stands while no heartbeat is taken is no
// sign of life: its lease may be due in an hour, if the servers' clock was set back. It says whether there is such a sign.
func (k *standing) confirm(heard uint64, now time.Time) (lives bool) {
	lives = heard != 0 && heard != k.heard
	k.heard = heard
	switch {
	case lives:
		k.gone, k.stood = time.Time{}, now
	case k.gone.IsZero():
		k.gone = now
	}
	return lives
}

// view is what a candidate sees beside what stands.
type view struct {
	now     time.Time
	own     bool          // the claim's life is one of this process, which holds nothing by it
	buried  uint64        // the generation of the tombstone by which the claim's life ended, as this process has judged; 0 if there is none
	ttl     time.Duration // the largest that is known of the scope's nodes
	settled time.Duration // for how long what the bucket lacks has been no sign that it lost anything
}

// verdict says whether a candidate may take a post, what it must do before, or when to look again if nothing is heard until then.
type verdict struct {
	may     bool      // after whoever listens was asked whether it holds the post
	confirm bool      // the stream's leader must be asked first whether the claim's life has a record; if it may not, it is to be judged again then
	answer  bool      // silence says so only when it has lasted for a whole lease; else for a moment
	again   time.Time // if it may not: zero if only news can change that
	why     string    // it may not, for people
}

// judge says whether a candidate may take a post now.
func (k *standing) judge(v view) verdict {
	switch {
	case k.claim.token == 0:
		// Nobody was ever heard of. Somebody may have claimed it in what the bucket has lost.
		if v.settled < v.ttl {
			return verdict{again: v.now.Add(v.ttl - v.settled), why: "the bucket is new, or was out of reach: somebody may hold it of whom it knows nothing"}
		}
		return verdict{may: true, answer: true}
	case k.resigned, v.own:
		return verdict{may: true}
	case k.stands && v.buried > k.base && !k.absent.IsZero():
		return verdict{may: true} // the tombstone came after the claim: it is of the life that made it
	case k.absent.IsZero() && k.stands:
		return verdict{why: "it is held"}
	case k.absent.IsZero():
		if until := k.missed.Add(doubtOf(k.claim.ttl)); v.now.Before(until) {
			return verdict{again: until, why: "its claim is missing, and the holder may write it again"}
		}
		return verdict{may: true, answer: true}
	case k.gone.IsZero():
		if until := k.stood.Add(k.claim.ttl / 3); v.now.Before(until) {
			return verdict{again: until, why: "its holder is not seen, and lives"}
		}
		return verdict{confirm: true, why: "its holder is not seen, and may live"}
	}
	if until := later(k.gone.Add(k.claim.ttl), v.now.Add(k.claim.ttl-v.settled)); v.now.Before(until) {
		return verdict{again: until, why: "its holder has gone, and may not know it yet"}
	}
	return verdict{may: true, confirm: true, answer: !k.stands}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// doubtOf is what a holder has to write its claim again: its lease and one heartbeat.
func doubtOf(ttl time.Duration) time.Duration { return ttl + ttl/3 }

// next returns the token of a claim that is made at a time by the server's clock; 0 if there is none left.
func (k *standing) next(server time.Time) uint64 {
	token := max(k.largest+1, uint64(max(server.UnixMilli(), 1)))
	if token > maxNumber {
		return 0
	}
	return token
}

// own is what this process itself has at a post.
type own struct {
	term claim // by which it holds the post now; the zero claim if it does not
	busy bool  // it is at it: it holds it, has not let it go yet, or is claiming it
	life bool  // the claim that is known was made by a life of this process
}

// deed is what the bucket needs of this process at a post.
type deed int

const (
	nothing deed = iota
	writing      // the claim again
	givingUp
)

// amiss says what the bucket needs, and of which claim: what this process holds must stand there, and nothing of its own by which it holds nothing.
func (k *standing) amiss(o own) (deed, claim) {
	switch {
	case o.term.token > 0 && (!k.stands || k.claim != o.term):
		return writing, o.term
	case !o.busy && k.stands && o.life:
		return givingUp, k.claim
	}
	return nothing, claim{}
}

// overtook says whether a term by a claim is over, whatever its lease: there is a later one, or it was given up.
func (k *standing) overtook(c claim) bool {
	return k.claim.token > c.token || k.claim.token == c.token && (k.claim.life != c.life || k.resigned)
}

// answers says whether what was asked when something of a generation was known to stand at the key, and was told to be of another one, is
// news. Else something was heard meanwhile, and the answer may be older.
func (k *standing) answers(asked, generation uint64) bool {
	return k.base == asked || generation > k.base
}
