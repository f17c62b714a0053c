package model_test

// suspicionRules are about who cannot be reached.
var suspicionRules = []rule{
	{
		name:  "a hint is checked",
		says:  "A hint is never believed, only checked; nobody can evict anybody by it",
		why:   "one message hides anybody",
		found: "TestAHintIsCheckedAndNotBelieved",
		edits: []edit{
			{"hint.go", "	_, err := p.ask(ctx, n.name, probePatience)\n	return unreached(err, way)\n", "	_ = way\n	return true\n"},
		},
	},
	{
		name:  "a server's word is checked",
		says:  "A hint is never believed, only checked; nobody can evict anybody by it",
		why:   "who connects anew is hidden",
		found: "TestAHintIsCheckedAndNotBelieved",
		edits: []edit{
			{"hint.go", "		if !p.closed(ctx, n) {", "		if false {"},
		},
	},
	{
		name:  "nobody is gone who was never there",
		says:  "No responders twice (its connection is gone), or three unanswered probes (it hangs): a hint",
		why:   "who listens to nobody, a program in another language, is hidden",
		found: "TestANewLifeThatNeverAnsweredIsNotSuspected",
		edits: []edit{
			{"prober.go", `		case p.seen[n.name].incarnation != n.id.incarnation:
			return unknown
`, ""},
		},
	},
	{
		name:  "once is not enough",
		says:  "No responders twice (its connection is gone)",
		why:   "who connects anew is hidden",
		found: "TestWhoIsAwayForAMomentIsNotHidden",
		edits: []edit{
			{"prober.go", "	absentTries   = 2 ", "	absentTries   = 1 "},
		},
	},
	{
		name:  "silence counts only where answers are quick",
		says:  "three unanswered probes (it hangs): a hint",
		why:   "when all have too much to do, the slowest are hidden",
		found: "TestSilenceTellsNothingWhereTheWayIsSlow",
		edits: []edit{
			{"hint.go", "errors.Is(err, errSilent) && way < quickWay", "errors.Is(err, errSilent) && way >= 0"},
		},
	},
	{
		name:  "the server that it was on must work",
		says:  "a server that stops or restarts makes nobody suspect anybody",
		why:   "a server that dies takes all its clients out",
		found: "TestAServerThatDiesMakesNobodySuspectItsClients",
		edits: []edit{
			{"prober.go", `	if server == "" {
		return 0, false
	}
	if p.self`, `	if server != "" {
		return 0, true
	}
	if p.self`},
		},
	},
	{
		name:  "who may be cut off suspects nobody",
		says:  "A member whose own heartbeats are late suspects nobody",
		why:   "who comes back hides whom it did not find at once",
		found: "TestWhoIsCutOffSuspectsNobody",
		edits: []edit{
			{"prober.go", "	return !refused && p.trust.calm(time.Now()) >= graceOf(n.ttl)", "	return !refused"},
			{"suspect.go", "d.believes(known.ttl) && known.heard", "known.heard"},
		},
	},
	{
		name:  "who was heard of since it was asked is not hidden",
		says:  "The node is back when it answers or changes",
		why:   "a verdict that took its time hides a node that has just said something",
		found: "TestWhoIsHeardOfWhileItIsAskedIsNotHidden",
		edits: []edit{
			{"suspect.go", "known.heard <= v.began && ", ""},
		},
	},
	{
		name:  "not more than half at once",
		says:  "The lease is the verdict; suspicion is local and reversible",
		why:   "who is cut off in a way that it does not notice hides everybody",
		found: "TestAMassOfHintsEmptiesNoSnapshot",
		edits: []edit{
			{"suspect.go", "	return sudden < (others+sudden+1)/2", "	return sudden+others >= 0"},
		},
	},
	{
		name:  "suspects are asked again",
		says:  "The node is back when it answers or changes",
		why:   "who was hidden stays hidden",
		found: "TestAFrozenNeighbourIsHiddenInUnderFourSecondsAndComesBack",
		edits: []edit{
			{"prober.go", `			p.revisit(ctx)
`, ""},
		},
	},
	{
		name:  "a suspect that changes is back",
		says:  "The node is back when it answers or changes",
		why:   "the same",
		found: "TestASuspectThatChangesIsBack",
		edits: []edit{
			{"cache.go", `	n.heard = d.old.serial + 1
	d.list(n)
`, `	n.heard = d.old.serial + 1
	if d.suspected(n.name) {
		d.hide(n)
	} else {
		d.list(n)
	}
`},
		},
	},
	{
		name:  "a suspicion forgets nothing",
		says:  "suspicion is local and reversible",
		why:   "who is back has no roles until the bucket is read",
		found: "TestAFrozenNeighbourIsHiddenInUnderFourSecondsAndComesBack",
		edits: []edit{
			{"suspect.go", `		d.hide(&suspect)
`, `		suspect.roles = nil
		d.hide(&suspect)
`},
		},
	},
	{
		name:  "a suspect is still known",
		says:  "suspicion is local and reversible",
		why:   "a tombstone does not end who is hidden",
		found: "TestModelSearch/suspicion",
		edits: []edit{
			{"cache.go", "	return find(d.suspects, name)\n", "	return nil\n"},
		},
	},
	{
		name:  "what was announced comes before a verdict",
		says:  "suspicion is what makes a crash visible",
		why:   "a goodbye is reported as a loss",
		found: "TestAGoodbyeComesBeforeAVerdict",
		edits: []edit{
			{"loop.go", `			if len(m.feed.messages) > 0 {
				n.changes`, `			if false {
				n.changes`},
		},
	},
	{
		name:  "who finds out tells all",
		says:  "a hint on `<bucket>.suspect.<scope>.<node>`",
		why:   "all but one neighbour wait for the lease, or for news to get round",
		found: "TestADeadNeighbourIsHiddenEverywhereInUnderASecond",
		edits: []edit{
			{"prober.go", "	_ = p.peers.hint(p.scope, h) //", "	//"},
		},
	},
	{
		name:  "answers name suspects",
		says:  "Whoever hears a hint probes once itself",
		why:   "who joins later, or missed a hint, waits for the lease",
		found: "TestANewcomerLearnsWhomTheOthersSuspect",
		edits: []edit{
			{"prober.go", "range a.suspects {", "range a.suspects[:0] {"},
		},
	},
	{
		name:  "an answer counts for the life that it names",
		says:  "The node is back when it answers or changes",
		why:   "who restarts answers for the life before, while it still waits to join",
		found: "TestTheNextLifeDoesNotAnswerForTheLast",
		edits: []edit{
			{"prober.go", "err == nil && a.incarnation == n.id.incarnation {", "err == nil && a.incarnation >= 0 {"},
		},
	},
	{
		name:  "who answers is back, whatever is believed",
		says:  "The node is back when it answers or changes",
		why:   "whoever is hidden when a server restarts stays hidden for a grace",
		found: "TestASuspectThatAnswersIsBackWhateverIsBelieved",
		edits: []edit{
			{"prober.go", "			p.revisit(ctx)\n			if p.round", "			if n := snap.successor(p.self); n == nil || p.may(n) {\n				p.revisit(ctx)\n			}\n			if p.round"},
		},
	},
	{
		name:  "in a cluster a closed connection is asked after twice",
		says:  "A hint is never believed, only checked; nobody can evict anybody by it",
		why:   "who has moved to another server is hidden",
		found: "TestAServerTellsOfADeathAndMillisecondsLaterItIsHidden",
		edits: []edit{
			{"hint.go", "case !p.peers.clustered():", "case true:"},
		},
	},
	{
		name:  "a suspicion ends when the lease would have",
		says:  "a suspicion ends when it is older than the TTL of the owner and the bucket still holds the record",
		why:   "who answers no probes, and lost its connection once, stays hidden until its next change",
		found: "TestASuspicionEndsWhereTheBucketStillHoldsTheRecord",
		edits: []edit{
			{"cache.go", "if hidden && !lapsed && d.outlives(known) {", "if false {"},
		},
	},
	{
		name:  "of who outlived a suspicion silence says nothing",
		says:  "a suspicion ends when it is older than the TTL of the owner and the bucket still holds the record",
		why:   "the next hint hides it again, and so on",
		found: "TestASuspicionEndsWhereTheBucketStillHoldsTheRecord",
		edits: []edit{
			{"suspect.go", "!hidden && !known.deaf && ", "!hidden && "},
			{"hint.go", "|| n.deaf || ", "|| "},
		},
	},
	{
		name:  "who answers again can be suspected again",
		says:  "The node is back when it answers or changes",
		why:   "whoever was cut off from its neighbours once goes by its lease for ever",
		found: "TestWhoOutlivedASuspicionAndAnswersCanBeSuspectedAgain",
		edits: []edit{
			{"prober.go", "			if n.deaf {", "			if false {"},
		},
	},
	{
		name:  "who asks nobody is gone past",
		says:  "a member that answers probes and asks nobody",
		why:   "behind a client that only answers, a death is seen when the lease ends",
		found: "Test(BehindPassiveMembers|OneWhoAsksAmongManyPassive)",
		edits: []edit{
			{"prober.go", "== answered && !p.seen[n.name].passive {", "== answered {"},
		},
	},
}
