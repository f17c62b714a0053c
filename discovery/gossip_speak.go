package discovery

import (
	"crypto/cipher"
	"crypto/rand"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/rolebus/rolebus/internal/found"
)

// When a speaker speaks: no network, and time is an argument. It says that it is there again and again, and answers who asks, many in
// one packet and not often: so nobody can have it send much.

const (
	gossipAnswerGap  = 200 * time.Millisecond
	gossipAnswerSoon = 50 * time.Millisecond // by chance: speakers do not all answer at once
	gossipPending    = 8 * gossipAnswers     // challenges that wait
	gossipGoodbyes   = 3                     // packets get lost
)

// gossipBegin is when a speaker speaks at first.
var gossipBegin = []time.Duration{0, 300 * time.Millisecond, time.Second}

type gossipSpeaker struct {
	me        gossipSession
	cluster   string
	every     time.Duration
	addresses []Address
	began     time.Time
	counter   uint64
	spoken    int // by itself
	nextState time.Time

	askers     map[gossipSession]uint64 // the counter of each: an old question is not answered again
	pending    []gossipChallenge
	nextAnswer time.Time // if some are pending
	lastAnswer time.Time
}

func newGossipSpeaker(now time.Time, cluster string, every time.Duration, addresses []Address) *gossipSpeaker {
	s := &gossipSpeaker{cluster: cluster, every: every, addresses: addresses, began: now, nextState: now, askers: map[gossipSession]uint64{}}
	rand.Read(s.me[:]) // it never fails
	return s
}

// take takes in a packet of the cluster that was sealed with a right secret.
func (s *gossipSpeaker) take(now time.Time, p *gossipPacket) {
	if p.kind != gossipQuery || len(p.asked) > 0 && !slices.Contains(p.asked, s.me) {
		return
	}
	counter, ok := s.askers[p.session]
	if ok && p.counter <= counter {
		return // the same by another way, or a replay
	}
	if !ok && len(s.askers) >= found.Most {
		for other := range s.askers { // any: what was asked by it before may be asked once more
			delete(s.askers, other)
			break
		}
	}
	s.askers[p.session] = p.counter
	if len(s.pending) >= gossipPending || slices.Contains(s.pending, p.challenge) {
		return // whoever is not answered asks again
	}
	if len(s.pending) == 0 {
		s.nextAnswer = later(s.lastAnswer.Add(gossipAnswerGap), now.Add(mathrand.N(gossipAnswerSoon)))
	}
	s.pending = append(s.pending, p.challenge)
}

// due returns the packet that is to be sent now, nil if there is none.
func (s *gossipSpeaker) due(now time.Time) *gossipPacket {
	answer := len(s.pending) > 0 && !now.Before(s.nextAnswer)
	if !answer && now.Before(s.nextState) {
		return nil
	}
	p := s.packet(gossipState)
	if !answer {
		if s.spoken++; s.spoken < len(gossipBegin) {
			s.nextState = later(now, s.began.Add(gossipBegin[s.spoken]))
		} else {
			s.nextState = now.Add(s.every/2 + mathrand.N(s.every))
		}
		return p
	}
	n := min(len(s.pending), gossipAnswers)
	p.answers = s.pending[:n:n]
	s.pending = s.pending[n:]
	s.lastAnswer, s.nextAnswer = now, now.Add(gossipAnswerGap)
	return p
}

// next returns when something is due.
func (s *gossipSpeaker) next() time.Time {
	if len(s.pending) > 0 && s.nextAnswer.Before(s.nextState) {
		return s.nextAnswer
	}
	return s.nextState
}

func (s *gossipSpeaker) packet(kind gossipKind) *gossipPacket {
	s.counter++
	p := &gossipPacket{session: s.me, counter: s.counter, kind: kind, cluster: s.cluster}
	if kind == gossipState {
		p.every, p.addresses = s.every, s.addresses
	}
	return p
}

// fits says whether the addresses have room in a packet, beside as many answers as there can be.
func (s *gossipSpeaker) fits(key cipher.AEAD) error {
	p := *s.packet(gossipState)
	p.answers = make([]gossipChallenge, gossipAnswers)
	_, err := p.seal(key)
	return err
}
