package discoverytest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
)

// Strategy is what is tested: see [rolebus.Strategy].
type Strategy = rolebus.Strategy

// Address is what strategies tell.
type Address = rolebus.Address

// Subject is a strategy to be put through the suite.
type Subject struct {
	// New makes a source for one check, which lists nothing yet, and a strategy that asks it, often: every 20 ms, if it polls, and with a
	// timeout and a backoff that are not much longer. It ends by tb.Cleanup what it started.
	New func(tb testing.TB) Source
	// Address returns the addresses that the source can list, as the strategy tells them: the i-th, from 0 on, each another one. Nil:
	// 10.0.0.1:4222 and so on.
	Address func(i int) Address
	// Many is how many addresses the source can list at once, at least 3. Default: 10,000.
	Many int
	// Cannot says what the source cannot do, such as Part|Fail. What it can is in [Source].
	Cannot Ability
	// Secrets are texts that nothing which the strategy tells may have in it: passwords, tokens, keys.
	Secrets []string
	// Within bounds how long anything is waited for that is to come. A check takes so long only if it fails. Default: 30 s.
	Within time.Duration

	patience time.Duration // in which Discover and Announce are to return
}

// Source is what a strategy asks, in the hands of the suite. None of its functions is called while another one runs. Each returns once
// the source is as it is to be; the strategy may learn of it later.
type Source struct {
	Strategy Strategy
	// Lists is what the source lists, for one that cannot Change.
	Lists []Address
	// Set has the source list exactly these addresses, in this order, one that comes twice twice if it can; none: it lists nothing. It
	// also ends whatever Part, Failures and Nuisances began.
	Set func(addresses []Address)
	// Part has the source list these addresses and say that the list lacks something. They are of even index, see [Subject].Address;
	// those of odd index that it listed are what it cannot tell of now.
	Part func(addresses []Address)
	// Failures has each kind of failure of the source by its name: refusals, silence, garbage in place of a list. The strategy is to tell
	// each, and to lose nothing by it.
	Failures map[string]func()
	// Nuisances is what the source lives through, by its name: answers that are slow, but come, messages of strangers, files of others.
	// The strategy is to lose nothing by it, and to learn what changes; it may tell it, or not. There need be none.
	Nuisances map[string]func()
	// Peer makes a strategy for another process that asks the same source, and so learns what Strategy announces. For each Strategy that is
	// a [discovery.Announcer].
	Peer func() Strategy
}

// Ability is something that sources can do.
type Ability uint

// The abilities. A source that cannot Change has one list for ever; it can do nothing of the others, either, unless it says so by having
// them.
const (
	Change Ability = 1 << iota // list other addresses
	Empty                      // list nothing, after it has listed something
	Part                       // say that a list lacks something
	Fail                       // fail
)

// check is one thing that is asked of a strategy.
type check struct {
	name  string
	needs Ability
	run   func(tb testing.TB, s Subject)
}

var checks = []check{
	{"the first list", 0, firstList},
	{"changes", Change, changes},
	{"any order", Change, anyOrder},
	{"duplicates", Change, duplicates},
	{"only one", Change, onlyOne},
	{"many", Change, many},
	{"empty", Change | Empty, empty},
	{"part", Change | Part, part},
	{"cancel", 0, cancelled},
	{"cancelled before", 0, cancelledBefore},
	{"two at once", 0, twoAtOnce},
	{"again", 0, again},
	{"nothing is left", 0, nothingIsLeft},
}

// Run puts a strategy through the suite, each check as a subtest.
func Run(t *testing.T, s Subject) {
	t.Helper()
	s, src := s.complete(t)
	for _, c := range checks {
		if c.needs&s.Cannot == 0 {
			t.Run(c.name, func(t *testing.T) { c.run(t, s) })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(src.Failures)) {
		t.Run("failure/"+name, func(t *testing.T) { failure(t, s, name) })
	}
	for _, name := range slices.Sorted(maps.Keys(src.Nuisances)) {
		t.Run("nuisance/"+name, func(t *testing.T) { nuisance(t, s, name) })
	}
	if src.Peer != nil {
		for _, c := range announcements {
			t.Run("announce/"+c.name, func(t *testing.T) { c.run(t, s) })
		}
	}
}

// complete fills in what is not given, and says what is missing: a source of which something was forgotten must not pass for one that
// cannot do it.
func (s Subject) complete(tb testing.TB) (Subject, Source) {
	tb.Helper()
	if s.New == nil {
		tb.Fatal("discoverytest: Subject.New is nil: give a function that makes a source and its strategy")
	}
	if s.Address == nil {
		s.Address = func(i int) Address {
			i++
			return Address{Host: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Port: 4222}
		}
	}
	if s.Many == 0 {
		s.Many = 10_000
	}
	if s.Within == 0 {
		s.Within = 30 * time.Second
	}
	if s.patience == 0 {
		s.patience = time.Second
	}
	if s.Cannot&Change != 0 {
		s.Cannot |= Empty | Part | Fail
	}
	src := s.New(tb)
	var wrong []string
	say := func(bad bool, text string) {
		if bad {
			wrong = append(wrong, text)
		}
	}
	var none Ability
	_, announces := src.Strategy.(discovery.Announcer)
	say(src.Strategy == nil, "Source.Strategy is nil")
	say(s.Many < 3, "Subject.Many: at least 3")
	say(slices.Contains(s.Secrets, ""), "Subject.Secrets: one is empty")
	say(s.Cannot&Change == none && src.Set == nil, "Source.Set is nil: give it, or say Cannot: discoverytest.Change")
	say(s.Cannot&Change != none && src.Set != nil, "Source.Set is given, and Cannot says Change: one of the two")
	say(s.Cannot&Change != none && len(src.Lists) == 0, "Source.Lists is empty: say what the source lists, which cannot Change")
	say(s.Cannot&Change == none && src.Lists != nil, "Source.Lists is for a source that cannot Change: leave it out")
	say(s.Cannot&Part == none && src.Part == nil, "Source.Part is nil: give it, or say Cannot: discoverytest.Part")
	say(s.Cannot&Part != none && src.Part != nil, "Source.Part is given, and Cannot says Part: one of the two")
	say(s.Cannot&Fail == none && len(src.Failures) == 0, "Source.Failures is empty: give each kind of failure, or say Cannot: discoverytest.Fail")
	say(s.Cannot&Fail != none && src.Failures != nil, "Source.Failures is given, and Cannot says Fail: one of the two")
	say(s.Cannot&Change != none && src.Nuisances != nil, "Source.Nuisances is given, and Cannot says Change: what would be tested?")
	say(announces && src.Peer == nil, "Source.Peer is nil, and the strategy is an Announcer: give one that is to learn what it announces")
	say(!announces && src.Peer != nil, "Source.Peer is given, and the strategy is no Announcer: leave it out")
	if len(wrong) > 0 {
		tb.Fatalf("discoverytest: the subject is not complete:\n\t%s", strings.Join(wrong, "\n\t"))
	}
	return s, src
}

// list are addresses by their numbers.
func (s Subject) list(numbers ...int) []Address {
	all := make([]Address, len(numbers))
	for i, n := range numbers {
		all[i] = s.Address(n)
	}
	return all
}

// first has a new source list something, and returns what.
func (s Subject) first(src Source) []Address {
	if src.Set == nil {
		return src.Lists
	}
	list := s.list(0, 1, 2)
	src.Set(list)
	return list
}
