package model_test

// outageRules are about when a process believes the bus.
var outageRules = []rule{
	{
		name:  "expired is not believed while heartbeats fail",
		says:  "While my own heartbeats do not succeed I believe no tombstone of kind expired",
		why:   "an outage that begins elsewhere reports others lost, though all are cut off",
		found: "TestModelFleet/an_outage_that_begins_with_one",
		edits: []edit{{"trust.go", "return !t.failing && !t.late(now) &&", "return !t.late(now) &&"}},
	},
	{
		name:  "nor when the last success is long ago",
		says:  "While my own heartbeats do not succeed I believe no tombstone of kind expired",
		why:   "a machine that was asleep wakes up and believes that all others died",
		found: "TestModelFleet/everybody_is_frozen",
		edits: []edit{{"trust.go", "return !t.failing && !t.late(now) &&", "return !t.failing &&"}},
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
		edits: []edit{{"cache.go", "(!d.believe || c.late > maxLate)", "!d.believe"}},
	},
	{
		name:  "a late switch shakes the trust in those in time",
		says:  "a live node whose heartbeat could not get through was buried by the new leader: hence section 6",
		why:   "right after the late ones come some in time, just as wrong",
		found: "TestModelFleet/no_leader,_twice",
		edits: []edit{{"member.go", "if snap.outage(n.changes) {", "if false {"}},
	},
	{
		name:  "who was buried and never late trusts nobody",
		says:  "The same if I was buried myself although I was never late",
		why:   "a server whose clock is wrong buries one after another, and all believe it",
		found: "TestModelFleet/the_server_buries_the_living",
		edits: []edit{{"heartbeat.go", "				k.trust.shake(now) // buried, but never late", "				_ = now"}},
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
		edits: []edit{{"member.go", "	m.trust.told(at, p, m.alone())", "	m.trust.led(at, p.leads)"}},
	},
}
