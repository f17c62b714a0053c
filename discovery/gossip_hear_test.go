package discovery

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/found"
)

// hearing is a hearer by hand: time passes as the test says.
type hearing struct {
	*gossipHearer
	now time.Time
}

var (
	eth0   = gossipSide{index: 2}
	eth1   = gossipSide{index: 3}
	myself = gossipSide{index: 2, local: true}
)

func newHearing() *hearing {
	now := time.Now()
	return &hearing{newGossipHearer(now, "north", time.Minute, 5*time.Second, newGossipStrangers()), now}
}

func (h *hearing) state(s *gossipSpeaker, side gossipSide, answers ...gossipChallenge) bool {
	p := s.packet(gossipState)
	p.answers = answers
	return h.take(h.now, p, side, netip.AddrPort{})
}

// ask has the hearer ask, and returns what is to be answered.
func (h *hearing) ask(t *testing.T) *gossipPacket {
	t.Helper()
	for range 100 {
		if p := h.due(h.now); p != nil {
			return p
		}
		h.now = later(h.now.Add(time.Millisecond), h.next())
	}
	t.Fatal("it does not ask")
	return nil
}

func (h *hearing) meet(t *testing.T, s *gossipSpeaker, side gossipSide) {
	t.Helper()
	h.state(s, side)
	require.True(t, h.state(s, side, h.ask(t).challenge))
}

func (h *hearing) speaker(n int) *gossipSpeaker {
	return newGossipSpeaker(h.now, "north", 5*time.Second, []Address{testAddress(n)})
}

func TestGossipBelievesOnlyWhoAnswers(t *testing.T) {
	h := newHearing()
	a := h.speaker(1)
	require.False(t, h.state(a, eth0), "nobody asked")
	c := h.ask(t).challenge
	require.False(t, h.state(a, eth0, gossipChallenge{1}), "an answer to another question")
	h.now = h.now.Add(gossipOpen)
	require.False(t, h.state(a, eth0, c), "too late")
	c = h.ask(t).challenge
	require.True(t, h.state(a, eth0, gossipChallenge{1}, c))
	require.Equal(t, []Address{testAddress(1)}, h.list())
	require.False(t, h.state(a, eth0), "it is known now")
}

// An answer on a tape is worth nothing once the session was let go, although the challenge is not old.
func TestGossipAnswersOnTape(t *testing.T) {
	h := newHearing()
	a := h.speaker(1)
	h.state(a, eth0)
	question := h.ask(t)
	answer := a.packet(gossipState)
	answer.answers = []gossipChallenge{question.challenge}
	require.True(t, h.take(h.now, answer, eth0, netip.AddrPort{}))
	goodbye := a.packet(gossipGoodbye)
	require.True(t, h.take(h.now, goodbye, eth0, netip.AddrPort{}))
	require.Empty(t, h.list())
	require.False(t, h.take(h.now, answer, eth0, netip.AddrPort{}))
	require.False(t, h.take(h.now, goodbye, eth0, netip.AddrPort{}))
	require.Empty(t, h.list())
}

func TestGossipCounters(t *testing.T) {
	h := newHearing()
	a := h.speaker(1)
	early, goodbyeOfOld := a.packet(gossipState), h.speaker(1).packet(gossipGoodbye)
	early.addresses = []Address{testAddress(9)}
	h.meet(t, a, eth0)
	require.False(t, h.take(h.now, early, eth0, netip.AddrPort{}), "it came late")
	require.False(t, h.take(h.now, goodbyeOfOld, eth0, netip.AddrPort{}), "another life of the same server")
	late := a.packet(gossipGoodbye)
	for range 2 * gossipReordered {
		h.state(a, eth0)
	}
	require.False(t, h.take(h.now, late, eth0, netip.AddrPort{}))
	require.ErrorContains(t, h.strange.due(h.now, "gossip")[0], "are old: the network delivers them very late, or somebody replays them")
	require.Equal(t, []Address{testAddress(1)}, h.list())
	a.addresses = []Address{testAddress(2)}
	require.True(t, h.state(a, eth0), "what it says anew counts")
	require.Equal(t, []Address{testAddress(2)}, h.list())
}

// Its own packets that come back, and questions of others, are nothing to a hearer.
func TestGossipReflected(t *testing.T) {
	h := newHearing()
	question := h.ask(t)
	require.False(t, h.take(h.now, question, myself, netip.AddrPort{}))
	require.Empty(t, h.unknown)
	s := h.speaker(1)
	own := s.packet(gossipState)
	s.take(h.now, own)
	require.Empty(t, s.pending)
	other := newHearing()
	s.take(h.now, other.ask(t))
	require.Len(t, s.pending, 1)
}

// A question to one is answered by that one alone, and once, however often it comes.
func TestGossipAnswersWhoAsksIt(t *testing.T) {
	h := newHearing()
	a, b := h.speaker(1), h.speaker(2)
	a.due(h.now)
	b.due(h.now)
	h.nextAll = h.now.Add(time.Hour)
	h.state(a, eth0)
	question := h.ask(t)
	require.Equal(t, []gossipSession{a.me}, question.asked)
	a.take(h.now, question)
	b.take(h.now, question)
	require.Equal(t, []gossipChallenge{question.challenge}, a.pending)
	require.Empty(t, b.pending)
	answer := a.due(h.now.Add(gossipAnswerSoon))
	require.Equal(t, []gossipChallenge{question.challenge}, answer.answers)
	a.take(h.now, question)
	require.Empty(t, a.pending)
}

func TestGossipSilence(t *testing.T) {
	const long = 61 * time.Second
	later := func(h *hearing, d time.Duration, speak ...*gossipSpeaker) bool {
		h.now = h.now.Add(d)
		for _, s := range speak {
			h.state(s, h.known[s.me].side)
		}
		return h.sweep(h.now)
	}
	for name, c := range map[string]struct {
		silent, heard gossipSide
		every         time.Duration
		goes          bool
	}{
		"another one on its side":              {eth0, eth0, 0, true},
		"only one on another interface":        {eth0, eth1, 0, false},
		"only this machine itself":             {eth0, myself, 0, false},
		"of this machine, and others speak":    {myself, eth0, 0, true},
		"it speaks so seldom by its own words": {eth0, eth0, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHearing()
			a, b := h.speaker(1), h.speaker(2)
			a.every = max(a.every, c.every)
			h.meet(t, a, c.silent)
			h.meet(t, b, c.heard)
			require.False(t, later(h, time.Minute-time.Second, b), "not long enough")
			require.Equal(t, c.goes, later(h, long-59*time.Second, b))
			if c.goes {
				require.Equal(t, []Address{testAddress(2)}, h.list())
			} else {
				require.Len(t, h.list(), 2)
			}
			_, deaf := h.deaf(h.now)
			require.False(t, deaf)
		})
	}
	t.Run("nobody is heard", func(t *testing.T) {
		h := newHearing()
		h.meet(t, h.speaker(1), eth0)
		h.meet(t, h.speaker(2), eth0)
		require.False(t, later(h, time.Hour))
		require.Len(t, h.list(), 2)
		silence, deaf := h.deaf(h.now)
		require.True(t, deaf)
		require.Equal(t, time.Hour, silence)
		require.Empty(t, h.ask(t).asked, "it asks all")
	})
}

func TestGossipIsBounded(t *testing.T) {
	h := newHearing()
	for n := range found.Most + 10 { // somebody who has the secret, and too much to say
		s := h.speaker(n)
		h.state(s, eth0)
		h.state(s, eth0, h.ask(t).challenge)
	}
	require.Len(t, h.known, found.Most)
	require.Len(t, h.order, found.Most)
	require.ErrorContains(t, h.strange.due(h.now, "gossip")[0], "are of more processes than the 1,024")
	for n := range 5 * found.Most { // sessions that do not answer
		h.state(h.speaker(n), eth0)
	}
	require.LessOrEqual(t, len(h.unknown), found.Most)
	require.LessOrEqual(t, len(h.want), found.Most)
	asked := 0
	for end := h.now.Add(10 * time.Second); h.now.Before(end); h.now = h.now.Add(time.Millisecond) {
		if p := h.due(h.now); p != nil {
			asked++
			require.LessOrEqual(t, len(p.asked), gossipAsked)
		}
	}
	require.LessOrEqual(t, asked, 110)
	require.LessOrEqual(t, len(h.open), gossipOpenMost)
	h.now = h.now.Add(gossipForget)
	h.sweep(h.now)
	require.Empty(t, h.unknown)
}

// Whatever is asked, a speaker answers 5 times a second.
func TestGossipAnswersAreBounded(t *testing.T) {
	h := newHearing()
	s := h.speaker(1)
	s.nextState = h.now.Add(time.Hour)
	question := h.ask(t)
	answers, most := 0, 0
	for i := range 10_000 { // in 10 s
		s.take(h.now, question) // again and again
		s.take(h.now, newHearing().ask(t))
		other := newHearing()
		other.state(h.speaker(2), eth0)
		other.nextAll = h.now.Add(time.Hour)
		s.take(h.now, other.ask(t)) // it is not asked
		if p := s.due(h.now); p != nil {
			answers++
			most = max(most, len(p.answers))
			require.NoError(t, s.fits(testKey(t, testSecret)))
		}
		if i%1000 == 0 {
			require.LessOrEqual(t, len(s.pending), gossipPending)
			require.LessOrEqual(t, len(s.askers), found.Most)
		}
		h.now = h.now.Add(time.Millisecond)
	}
	require.InDelta(t, 50, answers, 3)
	require.Equal(t, gossipAnswers, most)
}

// Where there is a new way into the network all are asked, although some are known.
func TestGossipAsksAnew(t *testing.T) {
	h := newHearing()
	h.meet(t, h.speaker(1), eth0)
	for range gossipOpening {
		h.ask(t)
	}
	h.now = h.now.Add(time.Second)
	require.Nil(t, h.due(h.now))
	h.anew(h.now)
	require.Empty(t, h.due(h.now).asked)
}
