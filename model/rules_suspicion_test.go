package model_test

// suspicionRules are about who cannot be reached.
var suspicionRules = []rule{
	{
		name:  "a hint is checked",
		says:  "A hint is never believed, only checked; nobody can evict anybody by it",
		why:   "one message hides anybody",
		found: "TestAHintIsCheckedAndNotBelieved",
		edits: []edit{
			{"hint.go", "	return errors.Is(err, errSilent), unreached(err, way)\n", "	return errors.Is(err, errSilent) && way < 0, true\n"},
		},
	},
	{
		name:  "a server's word is checked",
		says:  "A hint is never believed, only checked; nobody can evict anybody by it",
		why:   "who connects anew is hidden",
		found: "TestAHintIsCheckedAndNotBelieved",
		edits: []edit{
			{"hint.go", "		gone = p.closed(ctx, n)", "		gone = true"},
		},
	},
	{
		name:  "nobody is gone who was never there",
		says:  "No responders twice (its connection is gone), or three unanswered probes (it hangs): a hint",
		why:   "who listens to nobody, a program in another language, is hidden",
		found: "TestANewLifeThatNeverAnsweredIsNotSuspected",
		edits: []edit{
			{"ask.go", "case err == nil || !p.knows(n):", "case err == nil:"},
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
			{"ask.go", "errors.Is(err, errSilent) && way < quickWay", "errors.Is(err, errSilent) && way >= 0"},
		},
	},
	{
		name:  "the server that it was on must work",
		says:  "a server that stops or restarts makes nobody suspect anybody",
		why:   "a server that dies takes all its clients out",
		found: "TestAServerThatDiesMakesNobodySuspectItsClients",
		edits: []edit{
			{"ask.go", `	if server == "" {
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
			{"prober.go", "	return !refused && p.trust.calm(time.Now()) >= graceOf(ttl)", "	return !refused || ttl < 0"},
			{"suspect.go", "d.believes(known.ttl) && known.heard", "known.heard"},
		},
	},
	{
		name:  "who was heard of since it was asked is not hidden",
		says:  "The node is back when it answers or changes",
		why:   "a verdict that took its time hides a node that has just said something",
		found: "TestWhoIsHeardOfWhileItIsAskedIsNotHidden",
		edits: []edit{
			{"suspect.go", " && known.heard <= v.began:", ":"},
		},
	},
	{
		name:  "not more than half at once, of those who are silent",
		says:  "What a working server itself says needs no majority. What only silence says does",
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
		found: "TestASuspectThatAnswersIsBackWhateverIsBelieved",
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
			{"ask.go", "		_ = p.peers.hint(p.scope, h) //", "		//"},
		},
	},
	{
		name:  "answers name suspects",
		says:  "Whoever hears a hint probes once itself",
		why:   "who joins later, or missed a hint, waits for the lease",
		found: "TestANewcomerLearnsWhomTheOthersSuspect",
		edits: []edit{
			{"ask.go", "range a.suspects {", "range a.suspects[:0] {"},
		},
	},
	{
		name:  "an answer counts for the life that it names",
		says:  "The node is back when it answers or changes",
		why:   "who restarts answers for the life before, while it still waits to join",
		found: "TestTheNextLifeDoesNotAnswerForTheLast",
		edits: []edit{
			{"prober.go", "back = err == nil && a.incarnation == incarnation; back", "back = err == nil && a.incarnation >= 0; back"},
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
		name:  "a closed connection is asked after twice",
		says:  "A hint is never believed, only checked; nobody can evict anybody by it",
		why:   "who is connected anew at once, or has moved to another server, is hidden",
		found: "TestAServerTellsOfADeathAndMillisecondsLaterItIsHidden",
		edits: []edit{
			{"hint.go", "if absences++; absences < absentTries && !sleep(ctx, backAgain) {", "if absences = absentTries; absences < absentTries && !sleep(ctx, backAgain) {"},
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
			{"hint.go", " == nil || n.deaf\n", " == nil\n"},
		},
	},
	{
		name:  "who answers again can be suspected again",
		says:  "The node is back when it answers or changes",
		why:   "whoever was cut off from its neighbours once goes by its lease for ever",
		found: "TestWhoOutlivedASuspicionAndAnswersCanBeSuspectedAgain",
		edits: []edit{
			{"ask.go", "	if n.deaf {", "	if false {"},
		},
	},
	{
		name:  "who asks nobody is gone past",
		says:  "a member that answers probes and asks nobody",
		why:   "behind a client that only answers, a death is seen when the lease ends",
		found: "Test(BehindPassiveMembers|OneWhoAsksAmongManyPassive)",
		edits: []edit{
			{"ask.go", "	if a.passive {", "	if false {"},
		},
	},
	{
		name:  "more than half only where the leader answers",
		says:  "What a working server itself says needs no majority",
		why:   "the server may be the one that is cut off: whose connection to it broke is elsewhere by now",
		found: "TestMoreThanHalfAreGoneOnlyWhereTheLeaderAnswers",
		edits: []edit{
			{"suspect.go", "	if !silent && d.vouched {", "	if !silent {"},
		},
	},
	{
		name:  "what a server says needs no majority",
		says:  "What a working server itself says needs no majority",
		why:   "of three processes of which two die, one is listed until its lease ends",
		found: "TestMostOfAFleetDiesAtOnceAndIsGoneWithinASecond",
		edits: []edit{
			{"suspect.go", "			if !v.silent {", "			if false {"},
		},
	},
	{
		name:  "where nobody answers it is asked on",
		says:  "asks on at once, ever more at a time",
		why:   "of many that die together, one is found after the other",
		found: "TestMostOfAFleetDiesAtOnceAndIsGoneWithinASecond",
		edits: []edit{
			{"ring.go", "			if p.may(n) {\n				p.look", "			if p.may(n) && all == 0 {\n				p.look"},
		},
	},
	{
		name:  "who is new is asked",
		says:  "A node is suspected only by one that has heard it before",
		why:   "who is left of many has not heard most of the others",
		found: "TestMostOfAFleetDiesAtOnceAndIsGoneWithinASecond",
		edits: []edit{
			{"prober.go", "	asked = p.greet(ctx, snap)\n", "	if len(p.greeted) > acquaintances {\n		asked = p.greet(ctx, snap)\n	}\n"},
		},
	},
	{
		name:  "who is connected again says so",
		says:  "a process that is connected again says so, and whoever hid it asks at once",
		why:   "a connection that broke once costs a round of listing",
		found: "TestWhoIsConnectedAnewIsListedAgainAtOnce",
		edits: []edit{
			{"connection.go", "		speak()\n	default:\n", "	default:\n"},
		},
	},
	{
		name:  "who is connected again says so only beside the server of before",
		says:  "a process that is connected again says so, and whoever hid it asks at once",
		why:   "when a server is gone all its clients tell all others that they are there",
		found: "TestOnlyWhoseServerIsStillThereSaysThatItIsBack",
		edits: []edit{
			{"connection.go", "err == nil || errors.Is(err, errSilent) {\n				speak()", "err == nil || !errors.Is(err, errSilent) {\n				speak()"},
		},
	},
	{
		name:  "who hears that it is suspected says that it is there",
		says:  "a process that is connected again says so, and whoever hid it asks at once",
		why:   "of many that thaw at once the last is back after many rounds",
		found: "TestAHostThatFallsSilentIsGoneInTheTimeOfOne",
		edits: []edit{
			{"hint.go", "		p.say()\n", ""},
		},
	},
	{
		name:  "who says that it is there is asked before it is hidden",
		says:  "a process that is connected again says so, and whoever hid it asks at once",
		why:   "who was asked just before it was back is hidden",
		found: "TestWhoSaysThatItIsThereIsAskedBeforeItIsHidden",
		edits: []edit{
			{"prober.go", "	if said() {\n		if a", "	if false {\n		if a"},
		},
	},
	{
		name:  "who may suspect nobody is gone past",
		says:  "a member that answers probes and asks nobody",
		why:   "behind a node that was cut off a moment ago nobody finds a death for a grace",
		found: "TestAServerThatDiesMakesNobodySuspectItsClients",
		edits: []edit{
			{"member.go", "passive: !m.prober.mayAny(m.bus.opts.ttl)", "passive: false"},
		},
	},
}
