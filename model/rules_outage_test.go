package model_test

// outageRules are about when a process believes the bus.
var outageRules = []rule{
	{
		name:  "expired is not believed while heartbeats fail",
		says:  "While my own heartbeats do not succeed I believe no tombstone of kind expired",
		why:   "an outage that begins elsewhere reports others lost, though all are cut off",
		found: "TestModelFleet/an_outage_that_begins_with_one",
		edits: []edit{{"trust.go", "	case t.failing || t.late(now):\n		return 0", "	case t.late(now):\n		return 0"}},
	},
	{
		name:  "nor when the last success is long ago",
		says:  "While my own heartbeats do not succeed I believe no tombstone of kind expired",
		why:   "a machine that was asleep wakes up and believes that all others died",
		found: "TestModelFleet/everybody_is_frozen",
		edits: []edit{{"trust.go", "	case t.failing || t.late(now):\n		return 0", "	case t.failing:\n		return 0"}},
	},
	{
		name:  "nor for one grace period after they succeed again",
		says:  "and for one grace period after they succeed again",
		why:   "who reconnects first sees the switches of the others fire",
		found: "TestModelFleet/an_outage_of_the_server",
		edits: []edit{{"trust.go", "regained = t.failing || t.late(now)\n	if regained {", "regained = t.failing || t.late(now)\n	if false {"}},
	},
	{
		name:  "a late switch is doubted",
		says:  "a live node whose heartbeat could not get through was buried by the new leader: hence section 6",
		why:   "who only reads does not notice that there was no leader; the new one fires what fell due",
		found: "TestModelFleet/no_leader,_twice",
		edits: []edit{{"cache.go", "(!d.believes(known.ttl) || c.late > maxLate)", "!d.believes(known.ttl)"}},
	},
	{
		name:  "a late switch shakes the trust in those in time",
		says:  "a live node whose heartbeat could not get through was buried by the new leader: hence section 6",
		why:   "right after the late ones come some in time, just as wrong",
		found: "TestALateSwitchTellsOfAnOutage",
		edits: []edit{{"loop.go", "if snap.outage(n.changes) {", "if false {"}},
	},
	{
		name:  "who was buried and never late trusts nobody",
		says:  "The same if I was buried myself although I was never late",
		why:   "a server whose clock is wrong buries one after another, and all believe it",
		found: "TestModelFleet/the_server_buries_the_living",
		edits: []edit{{"recover.go", "				k.trust.shake(now) // buried, but never late", "				_ = now"}},
	},
	{
		name:  "silence shakes the trust",
		says:  "An observer, who has no heartbeat, goes by its connection and its syncs",
		why:   "a leader that stores nothing for a while, and then fires the switches of all whom it did not hear",
		found: "TestModelFleet/nothing_is_stored_for_a_while",
		edits: []edit{
			{"trust.go", "		t.silence(now, now.Add(-p.quiet))", "		_ = now"},
		},
	},
	{
		name:  "an observer asks the leader",
		says:  "An observer, who has no heartbeat, goes by its connection and its syncs",
		why:   "there is no leader for a while, and the next one fires the switches of all who had none to write to",
		found: "TestModelFleet/nothing_is_stored_for_a_while",
		edits: []edit{
			{"contact.go", "p, err := k.store.pulse(bounded)", "p, err := pulse{leads: forEver}, bounded.Err()"},
		},
	},
	{
		name:  "who joins asks how long nothing was stored",
		says:  "A bus outage is not a node failure",
		why:   "tombstones that were decided in time, and stored when the replicas followed again, are believed",
		found: "TestAnObserverThatJoinsBelievesNoTombstonesThatWereHeldUp",
		edits: []edit{{"member.go", "	m.trust.told(at.mono, p, m.rhythm())", "	m.trust.led(at.mono, p.leads)"}},
	},
	{
		name:  "a grace is counted in the owner's TTL",
		says:  "doubt and grace are counted in the TTL of the owner",
		why:   "whoever has a short TTL believes again before those with a long one have written again",
		found: "TestAGraceIsCountedInTheOwnersTTL",
		edits: []edit{
			{"cache.go", "return n.calm >= graceOf(ttl)", "return n.calm >= graceOf(max(n.ttl, minTTL))"},
		},
	},
	{
		name:  "who has the longer TTL asks the leader first",
		says:  "doubt and grace are counted in the TTL of the owner",
		why:   "a leader that is new buries in time who had none to write to, and who heartbeats seldom has not noticed",
		found: "Test(WhoHasTheLongerTTL|AnElectionThatNobody|ModelFleet/no_leader)",
		edits: []edit{
			{"cache.go", "known.ttl < d.ttl && !d.vouched", "false"},
		},
	},
	{
		name:  "the rhythm is that of two",
		says:  "An observer, who has no heartbeat, goes by its connection and its syncs",
		why:   "a node that dies, with the only short TTL, makes the bucket look silent, and is believed to live",
		found: "TestTheRhythmIsThatOfTwo",
		edits: []edit{
			{"member.go", "return min(first, more), min(second, max(first, more))", "return min(first, more), min(second, first, more)"},
		},
	},
}
