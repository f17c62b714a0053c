package model_test

// clockRules are about time: this machine's, and the servers'.
var clockRules = []rule{
	{
		name:  "who has slept is certain of no lease",
		says:  "where wall and monotonic time part, a process has slept, and is sure of nothing until it has asked",
		why:   "a laptop that wakes up works on as the one that is listed, long after it was buried",
		found: "TestWhoHasSlept",
		edits: []edit{{"lease.go", "	case l.machine.slept(now, l.armed):", "	case false:"}},
	},
	{
		name:  "who has slept believes nobody",
		says:  "where wall and monotonic time part, a process has slept, and is sure of nothing until it has asked",
		why:   "on a host that slept with its server, everybody believes the switches of all others",
		found: "TestAHostThatSleptReportsNobodyLost",
		edits: []edit{{"machine.go", "	m.trust.sleep(by)\n", ""}},
	},
	{
		name:  "a clock that was carried through a sleep is void",
		says:  "where wall and monotonic time part, a process has slept, and is sure of nothing until it has asked",
		why:   "a device that dozes arms leases that have nearly ended, and is buried again and again",
		found: "TestADeviceThatDozes",
		edits: []edit{{"clock.go", "return !c.at.mono.IsZero() && !c.machine.slept(now, c.at)", "return !c.at.mono.IsZero()"}, {"machine.go", "		b.clock.drop()\n", ""}},
	},
	{
		name:  "every announcement is a sample of the server's clock",
		says:  "every announcement is a free sample of it",
		why:   "the server's clock is set ahead, and everybody believes the switches that fire",
		found: "TestAServersClockThatStepsForward",
		edits: []edit{{"clock.go", "ahead := by > near &&", "ahead := false &&"}},
	},
	{
		name:  "a clock that was set ahead is remembered",
		says:  "a process that runs and reaches NATS is never reported lost by a verdict, through any restart of servers, step of their clocks",
		why:   "who joins another scope a moment later believes the switches that fire there",
		found: "TestWhoJoinsAfterTheClockWasSetAhead",
		edits: []edit{{"member.go", "\t\tm.trust.shake(b.ahead) //", "\t\t_ = b.ahead //"}},
	},
	{
		name:  "a time that is made up does not count for a while",
		says:  "the worst it can do is noise that heals within one heartbeat",
		why:   "whoever announces from the future keeps the dead listed",
		found: "TestAnAnnouncementFromTheFuture",
		edits: []edit{{"clock.go", "			by, c.refuted = 0, now.mono", "			by = 0"}},
	},
	{
		name:  "who arms a lease lives",
		says:  "a process that runs and reaches NATS is never reported lost by a verdict, through any restart of servers, step of their clocks",
		why:   "after a step back, leases lie too far ahead until their owners have asked what the time is",
		found: "TestModelWhoArmsItsLeaseIsInDoubtAnew",
		edits: []edit{{"lapse.go", `if !doubted || lease.unfit == "" && lease.generation > found.value.lease {`, "if !doubted {"}},
	},
}
