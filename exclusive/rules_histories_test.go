package exclusive

import (
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/stretchr/testify/require"
)

// Histories that each need one condition of a rule: see model/rules_exclusive_test.go.

func claimOf(node string, token uint64) claim {
	return claim{life: life{node, 10}, token: token, ttl: 3 * time.Second, since: at(0)}
}

func stands(generation uint64, c claim) rolebus.Entry {
	return rolebus.Entry{Name: "n", Generation: generation, Value: c.encode()}
}

func removed(generation uint64, c claim) rolebus.Entry {
	e := stands(generation, c)
	e.Removed = true
	return e
}

var (
	absent  = rolebus.Entry{Name: "n"}
	garbage = rolebus.Entry{Name: "n", Generation: 20, Value: "{}"}
)

// heard is a post of which a process has heard, one after another, at time 0.
func heard(es ...rolebus.Entry) *standing {
	k := &standing{}
	for _, e := range es {
		k.hear(e, at(0))
	}
	return k
}

func (k *standing) judgeAt(ms int64) verdict {
	return k.judge(view{now: at(ms), settled: longSettled})
}

// Two who know of nothing any more, because the bucket has lost it, claim in the same millisecond.
func TestRulesOfTwoWithOneTokenTheLastCounts(t *testing.T) {
	t.Parallel()
	x, y := claimOf("x", 100), claimOf("y", 100)
	k := heard(stands(7, x), stands(9, y))
	require.Equal(t, y, k.claim)
	require.True(t, k.overtook(x))
	require.False(t, k.overtook(y))
}

func TestRulesALifeMayHaveALaterTerm(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)), stands(9, claimOf("x", 101)))
	require.Equal(t, claimOf("x", 101), k.claim)
	nothingToDo, _ := k.amiss(own{term: claimOf("x", 101), busy: true, life: true})
	require.Equal(t, nothing, nothingToDo)
}

// A name was given up, or its holder was gone for long. Then another one has claimed it of whom this process knows nothing yet.
func TestRulesALaterTermIsJudgedByItself(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)))
	k.look(false, at(0))
	k.confirm(0, at(0))
	k.hear(removed(8, claimOf("x", 100)), at(10))
	k.hear(stands(9, claimOf("y", 101)), at(20))
	k.look(false, at(20))
	v := k.judgeAt(60_000)
	require.False(t, v.may)
	require.True(t, v.confirm)
}

// One who did not know of a term has a smaller token. Nobody after it must.
func TestRulesTokensGoOnAboveAllThatWereHeardOf(t *testing.T) {
	t.Parallel()
	const early = 7 // milliseconds since 1970: the servers' clock is set back
	k := heard(removed(8, claimOf("x", 100)), stands(9, claimOf("y", 90)))
	require.True(t, k.adopt(false, at(0)))
	require.Equal(t, uint64(101), k.next(time.UnixMilli(early)))
	k.hear(stands(12, claimOf("z", 95)), at(0))
	require.Equal(t, claimOf("z", 95), k.claim)
	require.Equal(t, uint64(101), k.next(time.UnixMilli(early)))
	k.recall(claimOf("w", 97), at(0))
	require.Equal(t, claimOf("w", 97), k.claim)
	require.Equal(t, uint64(101), k.next(time.UnixMilli(early)))
}

// The same, and it has given that up: there is nobody whose claim could count.
func TestRulesWhatWasGivenUpIsNotAdopted(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)), removed(9, claimOf("y", 90)))
	k.look(false, at(0))
	require.False(t, k.adopt(false, at(60_000)))
}

func TestRulesATokenFitsInANumberBefore1970(t *testing.T) {
	t.Parallel()
	require.Equal(t, uint64(1), (&standing{}).next(time.UnixMilli(-5)))
}

// The bucket goes back to a claim of this process that it had given up.
func TestRulesWhatStandsAgainIsGivenUpAgain(t *testing.T) {
	t.Parallel()
	x := claimOf("x", 100)
	k := heard(stands(7, x), removed(8, x))
	do, _ := k.amiss(own{life: true})
	require.Equal(t, nothing, do)
	k.hear(stands(7, x), at(10))
	do, c := k.amiss(own{life: true})
	require.Equal(t, givingUp, do)
	require.Equal(t, x, c)
}

// The claim is lost twice. Each time its holder has as long to write it again.
func TestRulesWhatIsMissingAgainIsDoubtedAnew(t *testing.T) {
	t.Parallel()
	x := claimOf("x", 100)
	k := heard(stands(7, x))
	k.hear(absent, at(300))
	k.hear(stands(9, x), at(1000))
	k.hear(absent, at(10_000))
	require.Equal(t, at(14_000), k.judgeAt(10_100).again)
}

// It is seen again and again that the claim is missing. That is one doubt.
func TestRulesADoubtBeginsOnce(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)))
	k.hear(absent, at(300))
	k.hear(garbage, at(1000))
	require.Equal(t, at(4300), k.judgeAt(1100).again)
	require.True(t, k.judgeAt(4300).may)
}

// What is forgotten some time after it has ended must have ended, for so long.
func TestRulesTheEndOfAPost(t *testing.T) {
	t.Parallel()
	x := claimOf("x", 100)
	k := heard(stands(7, x))
	k.hear(absent, at(0))
	require.Zero(t, k.ended, "its claim is missing: its holder may be cut off")
	k.hear(removed(9, x), at(100))
	require.Zero(t, k.ended, "the bucket has it")
	k.hear(garbage, at(200))
	require.Zero(t, k.ended, "something stands there")
	k.hear(absent, at(300))
	require.Equal(t, at(300), k.ended)
	k.hear(absent, at(400))
	require.Equal(t, at(300), k.ended)
	k.hear(removed(9, x), at(500)) // the bucket went back
	require.Zero(t, k.ended)
	k.hear(absent, at(600))
	require.Equal(t, at(600), k.ended)

	never := &standing{}
	never.hear(absent, at(100))
	require.Equal(t, at(100), never.ended, "nobody ever had it")
}

// The bucket went back, and an older claim stands there. The holder of the later one may be certain of it for as long as it may be without
// a record, and writes it again.
func TestRulesAnOlderClaimCountsOnceNobodyHoldsByTheLaterOne(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)))
	k.look(false, at(0))
	k.hear(stands(3, claimOf("y", 90)), at(10))
	k.look(false, at(1500)) // it has been absent since 0
	require.False(t, k.adopt(false, at(2999)))
	require.Equal(t, claimOf("x", 100), k.claim)
	require.True(t, k.adopt(false, at(3000)))
	require.Equal(t, claimOf("y", 90), k.claim)
}

func TestRulesAnOlderClaimDoesNotCountWhoseLaterOneIsBack(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)))
	k.look(false, at(0))
	k.hear(stands(3, claimOf("y", 90)), at(10))
	k.look(true, at(100))
	require.False(t, k.adopt(false, at(9000)))
}

// Somebody says that it holds the post.
func TestRulesWhatIsToldOfALaterTermCounts(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)))
	before := *k
	k.recall(claimOf("x", 100), at(500))
	require.Equal(t, before, *k, "it is known, and stands")
	k.recall(claimOf("y", 90), at(500))
	require.Equal(t, before, *k, "that answer is older")

	y := claimOf("y", 200)
	k.recall(y, at(500))
	require.Equal(t, y, k.claim)
	require.Equal(t, uint64(7), k.base, "what stands in the bucket, to be replaced, is what it was")
	require.Equal(t, uint64(201), k.next(time.UnixMilli(7)))
	k.look(true, at(500))
	require.Equal(t, at(4500), k.judgeAt(600).again, "it is missing since")
}

// Its life was away for a moment: it has to be away for a whole TTL anew, and while it is there it is the holder.
func TestRulesWhoIsBackIsTheHolder(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)))
	k.look(false, at(0))
	k.look(true, at(100))
	require.Equal(t, verdict{why: "it is held"}, k.judgeAt(60_000))
	require.False(t, k.judge(view{now: at(60_000), settled: longSettled, buried: 9}).may, "it came back after that tombstone")
}

// The leader had no record of it, then one, then none: meanwhile a heartbeat may have been taken.
func TestRulesARecordThatStoodMeanwhile(t *testing.T) {
	t.Parallel()
	k := heldBy("x", false)
	k.confirm(0, at(0))
	k.confirm(12, at(2000))
	k.confirm(0, at(2900))
	require.Equal(t, at(5900), k.judgeAt(3000).again)
}

func TestRulesWhoIsGoneStaysGone(t *testing.T) {
	t.Parallel()
	k := heldBy("x", false)
	k.confirm(0, at(0))
	k.confirm(0, at(2000))
	require.True(t, k.judgeAt(3000).may)
}

func TestRulesWhatTheBucketNeeds(t *testing.T) {
	t.Parallel()
	x, y, none := claimOf("x", 100), claimOf("y", 90), claim{}
	there, away := heard(stands(7, x)), heard(stands(7, x), absent)
	for _, c := range []struct {
		what string
		k    *standing
		own  own
		do   deed
		of   claim
	}{
		{"what is held stands there", there, own{term: x, busy: true, life: true}, nothing, none},
		{"what is held is missing", away, own{term: x, busy: true, life: true}, writing, x},
		{"what is held is another term than what stands there", heard(stands(7, y)), own{term: x, busy: true}, writing, x},
		{"nothing is held, and nothing stands there", &standing{}, own{}, nothing, none},
		{"nothing is held, and another's claim is missing", away, own{}, nothing, none},
		{"somebody else's stands there", there, own{}, nothing, none},
		{"what nothing is held by stands there", there, own{life: true}, givingUp, x},
		{"and was lost", away, own{life: true}, nothing, none},
		{"what a campaign has just written stands there", there, own{busy: true, life: true}, nothing, none},
	} {
		do, of := c.k.amiss(c.own)
		require.Equal(t, c.do, do, c.what)
		require.Equal(t, c.of, of, c.what)
	}
}

func TestRulesWhenATermIsOver(t *testing.T) {
	t.Parallel()
	x := claimOf("x", 100)
	for what, is := range map[string]bool{
		"it stands":              heard(stands(7, x)).overtook(x),
		"it is missing":          heard(stands(7, x), absent).overtook(x),
		"nothing was heard":      (&standing{}).overtook(x),
		"an earlier one stands":  heard(stands(7, claimOf("x", 99))).overtook(x),
		"another's was given up": heard(removed(7, claimOf("y", 90))).overtook(x),
		"another's stood before": heard(stands(7, claimOf("y", 90))).overtook(x),
	} {
		require.False(t, is, what)
	}
	for what, is := range map[string]bool{
		"a later one":              heard(stands(7, claimOf("y", 101))).overtook(x),
		"a later one of that life": heard(stands(7, claimOf("x", 101))).overtook(x),
		"somebody gave it up":      heard(stands(7, x), removed(8, x)).overtook(x),
	} {
		require.True(t, is, what)
	}
}

func TestRulesWhichAnswersAreNews(t *testing.T) {
	t.Parallel()
	k := heard(stands(7, claimOf("x", 100)))
	require.True(t, k.answers(7, 9))
	require.True(t, k.answers(7, 0), "it is missing, and nothing else was heard meanwhile: the bucket may have gone back")
	require.True(t, k.answers(5, 9), "it is newer than what was heard meanwhile")
	require.False(t, k.answers(5, 0), "what was heard meanwhile may be newer")
	require.False(t, k.answers(5, 6))
}

// Somebody holds by a claim that stands in the bucket and is smaller than what others know of: that one was given up, which the bucket has lost.
func TestRulesWhatStandsCountsWhateverWasGivenUp(t *testing.T) {
	t.Parallel()
	y := claimOf("y", 90)
	k := heard(stands(9, y))
	k.look(true, at(0))
	require.False(t, k.remind(claimOf("x", 100), true, false, at(500)))
	require.Equal(t, y, k.claim)
	require.Equal(t, "it is held", k.judgeAt(600).why)
	require.Equal(t, uint64(101), k.next(time.UnixMilli(7)), "and yet tokens grow")

	require.False(t, k.remind(claimOf("x", 100), false, true, at(500)), "it is of this very process, which holds nothing by it and gives it up")
	require.Equal(t, y, k.claim)
}

// The bucket has gone back to a claim of before. Somebody remembers a later one, by whose holder it may be held: he is cut off, say.
func TestRulesWhoMayHoldByWhatIsRememberedIsWaitedFor(t *testing.T) {
	t.Parallel()
	x, y := claimOf("x", 100), claimOf("y", 90)
	k := heard(stands(9, y))
	k.look(false, at(0)) // who had it before has gone
	require.True(t, k.remind(x, false, false, at(500)))
	require.Equal(t, x, k.claim)
	k.look(true, at(500))
	require.Equal(t, at(4500), k.judgeAt(600).again)
	require.True(t, k.remind(x, true, false, at(700)), "he has given it up, as somebody else knows")
	require.True(t, k.adopt(false, at(700)))
	require.Equal(t, y, k.claim)

	k = heard(stands(9, y))
	k.look(false, at(0))
	require.True(t, k.remind(x, false, false, at(500)))
	k.look(false, at(500)) // he has gone, too
	require.True(t, k.adopt(false, at(3500)))
	require.Equal(t, y, k.claim)
	require.False(t, k.remind(x, false, false, at(3600)), "that is known")
	require.True(t, k.remind(claimOf("z", 110), false, false, at(3600)))
}

func TestRulesWhatIsToldDoesNotHideWhatStands(t *testing.T) {
	t.Parallel()
	y, x := claimOf("y", 90), claimOf("x", 100)
	for what, k := range map[string]*standing{"it counted": heard(stands(9, y)), "it did not count": heard(stands(7, claimOf("w", 95)), stands(9, y))} {
		k.look(true, at(0))
		k.recall(x, at(100)) // x says that it holds the post
		require.Equal(t, x, k.claim, what)
		require.False(t, k.said, what)
		k.look(false, at(200)) // and dies
		require.True(t, k.adopt(false, at(3200)), what)
		require.Equal(t, y, k.claim, what)
		require.True(t, k.said, what)
		k.look(true, at(3200))
		require.Equal(t, "it is held", k.judgeAt(3300).why, what)
	}
}

func TestRulesWhatIsRemembered(t *testing.T) {
	t.Parallel()
	x, y := claimOf("x", 100), claimOf("y", 200)

	k := heard(absent)
	require.True(t, k.remind(x, false, false, at(100)))
	require.Equal(t, x, k.claim)
	require.Equal(t, at(4100), k.judgeAt(200).again, "its holder may write it again")
	require.False(t, k.remind(x, false, false, at(300)), "it is known")
	require.False(t, k.remind(claimOf("x", 90), true, false, at(300)), "a term before this one was given up")
	require.False(t, k.remind(claimOf("w", 100), true, false, at(300)), "another's was, who claimed in the same millisecond")
	require.True(t, k.remind(x, true, false, at(300)), "and now it is known that it was given up")
	require.Equal(t, verdict{may: true}, k.judgeAt(300))
	require.False(t, k.remind(x, true, false, at(400)))
	require.False(t, k.remind(x, false, false, at(400)), "who has not heard of that says nothing new")
	require.True(t, k.resigned)
	require.False(t, k.remind(claimOf("w", 100), true, false, at(400)), "of two with one token the first that was heard of")
	require.False(t, k.remind(claimOf("w", 90), false, false, at(400)), "older")
	require.True(t, k.resigned)
	require.Equal(t, x, k.claim)

	require.True(t, k.remind(y, true, false, at(500)))
	require.Equal(t, verdict{may: true}, k.judgeAt(500))
	require.Equal(t, uint64(201), k.next(time.UnixMilli(7)))
}

// The bucket says what counts where it has the claim, or that it was given up; else somebody may remember more.
func TestRulesWhetherTheBucketSaysWhatCounts(t *testing.T) {
	t.Parallel()
	x, y := claimOf("x", 100), claimOf("y", 90)
	for what, k := range map[string]*standing{
		"it stands":                  heard(stands(7, x)),
		"it was given up":            heard(stands(7, x), removed(8, x)),
		"that is all that was heard": heard(removed(8, x)),
	} {
		require.True(t, k.said, what)
	}
	for what, k := range map[string]*standing{
		"nothing is there":                  heard(absent),
		"it is lost":                        heard(stands(7, x), absent),
		"that it was given up is lost":      heard(removed(8, x), absent),
		"somebody's garbage covers it":      heard(stands(7, x), garbage),
		"an older one covers it":            heard(stands(7, x), stands(9, y)),
		"an older one was given up over it": heard(stands(7, x), removed(9, y)),
	} {
		require.False(t, k.said, what)
	}
}

// A holder has died whose lease is due in an hour: the servers' clock was ahead when it was armed. Its record stands, and nobody renews it.
func TestRulesARecordThatNobodyRenews(t *testing.T) {
	t.Parallel()
	k := heldBy("x", false)
	require.True(t, k.confirm(12, at(0)))
	require.Equal(t, at(1000), k.judgeAt(10).again)
	require.False(t, k.confirm(12, at(1000)))
	require.Equal(t, at(4000), k.judgeAt(1010).again)
	require.False(t, k.confirm(12, at(4000)))
	require.Equal(t, verdict{may: true, confirm: true}, k.judgeAt(4000))

	require.True(t, k.confirm(13, at(4100)), "it is renewed after all")
	require.Equal(t, at(5100), k.judgeAt(4200).again)
	require.False(t, k.confirm(0, at(5200)), "it has none any more")
	require.Equal(t, at(8200), k.judgeAt(5300).again)
}
