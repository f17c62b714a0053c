package model_test

// lapseRules are about records that stand, and are not buried by their leases.
var lapseRules = []rule{
	{
		name:  "a record without a lease is doubted",
		says:  "however many die at once, and whatever the store forgot",
		why:   "whose switch the server forgot, or somebody took away, is listed for ever when it dies",
		found: "TestPromise4WhoDiesGoesWhateverBecameOfItsSwitch",
		edits: []edit{{"lapse.go", `if d.lapsed[known.name] == "" ||`, "if true ||"}},
	},
	{
		name:  "a lease must be due some day",
		says:  "and a dead node does not stay",
		why:   "who died before the server's clock went back an hour is listed for an hour",
		found: "TestPromise4WhoDiesGoesWhateverBecameOfItsSwitch/it_is_due_in_an_hour",
		edits: []edit{{"lapse.go", "case -late > graceOf(c.ttl) &&", "case false &&"}},
	},
	{
		name:  "a record ends no doubt about its lease",
		says:  "What the bucket does not say is not a fact either",
		why:   "who is read once more in between is listed for longer, and perhaps for ever",
		found: "TestModelARecordAloneEndsNoDoubtAboutItsLease",
		edits: []edit{{"lapse.go", "doubted = found != nil && found.value.lapsed", "doubted = found != nil && found.value.lapsed && d.whole"}},
	},
	{
		name:  "who answers is not dropped for its lease",
		says:  "a process that runs and reaches NATS is never reported lost by a verdict",
		why:   "somebody who takes its lease away again and again has it dropped",
		found: "TestPromise3WhoLivesIsNotDroppedForItsLease",
		edits: []edit{{"doubtful.go", "if k.lives(ctx, n.name, n.id.incarnation) {", "if false {"}},
	},
	{
		name:  "a replica that lags shows no lapse",
		says:  "What the bucket does not say is not a fact either",
		why:   "who reads old leases drops the living",
		found: "TestLeasesOfAReplicaThatLagsTakeNobodyOut",
		edits: []edit{{"doubtful.go", "if r.lags && leader.leases[n.name] {", "if false {"}},
	},
	{
		name:  "who has its lease again is listed again",
		says:  "the server's tombstone is the verdict",
		why:   "who was dropped for its lease, and lives, is not seen before it changes",
		found: "TestPromise3WhoLivesIsNotDroppedForItsLease/it_does_not",
		edits: []edit{{"lapse.go", "e.lapsed && e.id == c.id &&", "false && e.lapsed && e.id == c.id &&"}},
	},
	{
		name:  "who was overdue and not buried writes again",
		says:  "the truth lives in the processes: every node notices and says again what is so",
		why:   "who was frozen for long, and dropped for its lease, is back only when the whole scope is read",
		found: "TestWhoIsBackAfterItsSwitchWasLostIsListedAgain",
		edits: []edit{{"heartbeat.go", "	if k.lapsed {", "if false {"}},
	},
	{
		name:  "an end is remembered while its record stands",
		says:  "everything else is ignored",
		why:   "who is dead and not buried joins and is lost once an hour",
		found: "TestPromise4WhoDiesGoesWhateverBecameOfItsSwitch",
		edits: []edit{{"cache.go", " && !d.standing[name]", ""}},
	},
}
