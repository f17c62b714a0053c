package model_test

// lifeRules are about a node and its own record.
var lifeRules = []rule{
	{
		name:  "lease before record",
		says:  "Lease before record, so that no record ever stands without a switch",
		why:   "a process that dies between the two leaves a record that nothing ever buries",
		found: "TestModelFleet/death_between_two_requests",
		edits: []edit{{"recover.go", `	if err := k.arm(ctx, id.version, replaces); err != nil {
		return err
	}
	if own {
		k.lease.renew(k.armed)
	}
	c := change{kind: kindState, node: k.node, id: id, ttl: k.ttl, roles: want.roles, meta: want.meta}
	k.written = true
	under := k.fleet()
	generation, err := k.put(ctx, c, replaces)
	if err != nil {
		k.giveUp(rev, want, err)
		return err
	}
`, `	c := change{kind: kindState, node: k.node, id: id, ttl: k.ttl, roles: want.roles, meta: want.meta}
	k.written = true
	under := k.fleet()
	generation, err := k.put(ctx, c, replaces)
	if err != nil {
		k.giveUp(rev, want, err)
		return err
	}
	if err := k.arm(ctx, id.version, generation); err != nil {
		return err
	}
`}},
	},
	{
		name:  "a record is compared and set",
		says:  "one writer per scope brings the record there with a compare-and-set",
		why:   "an older life writes over a newer one",
		found: "TestModelFleet/a_restart_under_the_same_name",
		edits: []edit{{"heartbeat.go", "	generation, err := k.store.put(ctx, k.scope, c, replaces)", `	if _, now, err := k.store.get(ctx, k.scope, k.node); err == nil {
		replaces = now
	}
	generation, err := k.store.put(ctx, k.scope, c, replaces)`}},
	},
	{
		name:  "what may have been heard is unsaid",
		says:  "the truth lives in the processes: every node notices and says again what is so",
		why:   "who wants to be again what the store had confirmed stays for the others what it was between",
		found: "TestModelAChangeThatTheStoreForgotIsUnsaid",
		edits: []edit{{"heartbeat.go", "	unsure := k.tried > k.id.version", "	unsure := false"}},
	},
	{
		name:  "other metadata is a whole state",
		says:  "A record says everything twice: the body is the whole state for whoever reads the bucket, one header of ours is the change",
		why:   "who hears the change goes on showing the metadata of before, whatever the bucket holds",
		found: "TestModelFleet/changes_and_crashes",
		edits: []edit{{"heartbeat.go", "	if unsure || !maps.Equal(want.meta, k.held.meta) {", "	if unsure || false && !maps.Equal(want.meta, k.held.meta) {"}},
	},
	{
		name:  "nothing counts before the store has confirmed it",
		says:  "the truth lives in the processes: every node notices and says again what is so",
		why:   "while writes fail a node takes its own record for somebody else's, and gives up a lease that runs",
		found: "TestModelALeaseRunsOnThoughAWriteIsNotAcknowledged",
		edits: []edit{{"recover.go", "	id := life{k.id.incarnation, max(k.id.version, k.bound, k.tried) + 1}", `	k.id.version = max(k.id.version, k.bound, k.tried) + 1
	id := k.id`}},
	},
	{
		name:  "what was sent may be what stands there",
		says:  "the truth lives in the processes: every node notices and says again what is so",
		why:   "a change whose acknowledgement is lost costs the lease",
		found: "TestModelALeaseRunsOnThoughAWriteIsNotAcknowledged",
		edits: []edit{{"recover.go", "found.id.version <= max(k.id.version, k.tried) &&", "found.id.version <= k.id.version &&"}},
	},
	{
		name:  "a replica that lags takes no lease away",
		says:  "the truth lives in the processes: every node notices and says again what is so",
		why:   "while nobody carries questions to the leader, a replica that has not heard of a record costs its node the lease",
		found: "TestModelALeaseRunsOnThoughAReplicaLags",
		edits: []edit{{"heartbeat.go", "	return generation < k.generation && k.under == k.fleet()", "	return false"}},
	},
	{
		name:  "who finds out what is so heartbeats first",
		says:  "a process that runs and reaches NATS is never reported lost by a verdict",
		why:   "who found no leader for a moment asks whether the bucket is still there, and is buried while the servers are long about the answer",
		found: "TestModelALeaseIsRenewedWhileNothingIsFoundOut",
		edits: []edit{{"heartbeat.go", "		if err = k.hold(ctx); err == nil {", "		if err == nil {"}},
	},
	{
		name:  "who waits for the leader does not wait his lease away",
		says:  "the stream's leader says what stands; while it cannot be asked, a replica that is no older does",
		why:   "who found no leader for a moment is sure of no lease until a leader that takes its heartbeats has been given up",
		found: "TestModelALeaseIsRenewedWhileNothingIsFoundOut/a_heartbeat",
		edits: []edit{{"heartbeat.go", "	leading, cancel := k.withinLease(ctx)", "	leading, cancel := k.within(ctx)"}},
	},
	{
		name:  "what is taken again is not missing",
		says:  "a process that runs and reaches NATS is never reported lost by a verdict",
		why:   "who found no leader for a moment is sure of no lease until it has asked whether the bucket is still there, though its heartbeats are taken",
		found: "TestModelALeaseIsRenewedWhileNothingIsFoundOut/a_heartbeat",
		edits: []edit{{"heartbeat.go", "before && err != nil && !errors.Is(err, errConflict)", "before"}},
	},
	{
		name:  "a heartbeat that is due goes before a change",
		says:  "a process that runs and reaches NATS is never reported lost by a verdict",
		why:   "a change that is not answered in time costs the lease a part of what is left of it",
		found: "TestModelAHeartbeatThatIsDueGoesBeforeAChange",
		edits: []edit{
			{"heartbeat.go", "	case due:\n		err = k.beat(ctx)\n", ""},
			{"heartbeat.go", "	beaten = suspicious || due", "	beaten = suspicious"},
			{"heartbeat.go", "	if unwritten != nil {\n		if err", "	if unwritten != nil || due && !beaten {\n		if err"},
		},
	},
	{
		name:  "a lease is as good as the record beside it",
		says:  "A refusal tells the node at once that its record was buried, taken over or wiped",
		why:   "a node whose record the bucket has forgotten, and the lease with it, is sure of a lease that nobody has",
		found: "TestModelALeaseIsLostWithTheRecord",
		edits: []edit{{"recover.go", "	if !own {", "	if false {"}},
	},
	{
		name:  "a heartbeat is conditional",
		says:  "A refusal tells the node at once that its record was buried, taken over or wiped",
		why:   "a wiped record is missed only when somebody reads",
		found: "TestModelFleet/the_bucket_is_wiped",
		edits: []edit{{"heartbeat.go", "	err = k.store.arm(ctx, k.scope, c, record)", `	if _, found, err := k.store.get(ctx, k.scope, k.node); err == nil {
		record = found
	}
	err = k.store.arm(ctx, k.scope, c, record)`}},
	},
	{
		name:  "a rewrite is above every bound",
		says:  "Leases, and so the tombstones that come of them, carry the incarnation and version that they bury",
		why:   "who heard the tombstone takes the new record for part of what it buried",
		found: "TestModelFleet/(the_bucket_is_wiped|the_store_goes_back|the_server_buries|an_outage_of)",
		edits: []edit{{"recover.go", "max(k.id.version, k.bound, k.tried) + 1", "max(k.id.version, k.tried) + 1"}},
	},
	{
		name:  "a lease names the versions to come",
		says:  "Leases, and so the tombstones that come of them, carry the incarnation and version that they bury",
		why:   "a crash right after a change leaves a tombstone that buries too little",
		found: "TestModelFleet/changes_and_crashes",
		edits: []edit{{"heartbeat.go", "id: life{k.id.incarnation, bound}, due: dueAt(now.Add(k.ttl))}", "id: k.id, due: dueAt(now.Add(k.ttl))}"}},
	},
	{
		name:  "no change beyond what the lease buries",
		says:  "Leases, and so the tombstones that come of them, carry the incarnation and version that they bury",
		why:   "the same, after a thousand changes between two heartbeats",
		found: "TestModelFleet/a_burst_of_changes",
		edits: []edit{{"heartbeat.go", "		if c.id.version > k.bound {", "		if false {"}},
	},
	{
		name:  "an incarnation above the found one",
		says:  "one more than the record found",
		why:   "a machine whose clock is behind, or a restart within a millisecond: two lives with one number",
		found: "TestModelFleet/(a_clock_that_was|a_restart_under)",
		edits: []edit{{"join.go", "max(first, found.id.incarnation+1, last+1)", "max(first, last+1)"}},
	},
	{
		name:  "an incarnation at least the wall clock",
		says:  "at least the wall clock in milliseconds",
		why:   "when the bucket has forgotten a node that others remember, its new life counts as an old one",
		found: "TestModelFleet/a_clock_that_was_ahead",
		edits: []edit{{"join.go", "id.incarnation = max(id.incarnation, uint64(k.wall().UnixMilli()))", "_ = k.wall"}},
	},
	{
		name:  "the superseded stops",
		says:  "the older, if it still runs, finds out by its refused heartbeat, stops",
		why:   "two lives write over each other for ever",
		found: "TestModelFleet/a_restart_under_the_same_name",
		edits: []edit{{"recover.go", "	if found.id.incarnation > k.id.incarnation {", "	if false {"}},
	},
	{
		name:  "after a failure the record is looked at",
		says:  "every node finds its heartbeat refused or failing, re-creates what it may, writes its record again",
		why:   "a bucket that went back gave the record's generation to its tombstone: heartbeats pass, the record is gone",
		found: "TestModelARecordWhoseGenerationItsTombstoneHasIsWrittenAgain",
		edits: []edit{{"heartbeat.go", "		suspicious = err != nil || unwritten != nil // who knows what was stored", "		suspicious = false"}},
	},
	{
		name:  "after a reconnect the record is looked at",
		says:  "every node finds its heartbeat refused or failing, re-creates what it may, writes its record again",
		why:   "the same, when the outage was too short for a heartbeat to fail",
		found: "TestModelFleet/a_generation_is_given_twice",
		edits: []edit{{"member.go", "	m.catcher.ask(asked{whole: true, crowd: true})\n	m.reassure()", "	m.catcher.ask(asked{whole: true, crowd: true})"}},
	},
	{
		name:  "news about itself make a node look",
		says:  "every node finds its heartbeat refused or failing, re-creates what it may, writes its record again",
		why:   "a tombstone that others heard, and that the bucket forgot, stands in their way for ever",
		found: "TestModelFleet/the_store_goes_back_and_forgets_what_it_announced",
		edits: []edit{{"loop.go", "m.disputed(n, next) {\n		poke(m.keeper.nudge)\n", "m.disputed(n, next) {\n"}},
	},
	{
		name:  "what a tombstone said is remembered",
		says:  "a tombstone beats the state whose version it names",
		why:   "the same: the record looks as it should",
		found: "TestModelFleet/the_store_goes_back_and_forgets_what_it_announced",
		edits: []edit{{"recover.go", "	told := k.told.Load()", "	told := uint64(0)"}},
	},
	{
		name:  "a record is written again though it is one's own",
		says:  "the truth lives in the processes: every node notices and says again what is so",
		why:   "a leader that died took the announcement with it: the change is seen when somebody reads",
		found: "TestModelFleet/an_acknowledgement_and_an_announcement_are_lost",
		edits: []edit{{"recover.go", "	// Also if the record is this life's own:", `	if own && found.id == (life{k.id.incarnation, k.id.version + 1}) {
		k.id, k.generation, k.held, k.tried = found.id, generation, wanted{found.roles, found.meta}, found.id.version
		if want, rev, _ := k.want.current(); want.equal(k.held) {
			k.want.confirm(rev, k.id)
		}
		return nil
	}
	// Also if the record is this life's own:`}},
	},
	{
		name:  "a goodbye is compared and set",
		says:  "two lives never fight",
		why:   "the goodbye of an older life goes over the record of a newer one",
		found: "TestModelFleet/a_restart_under_the_same_name",
		edits: []edit{{"goodbye.go", "	err := k.bury(ctx, c, *generation)", `	if _, now, err := k.store.get(ctx, k.scope, k.node); err == nil {
		*generation = now
	}
	err := k.bury(ctx, c, *generation)`}},
	},
	{
		name:  "a takeover arms the lease once more",
		says:  "the new incarnation takes the record over by compare-and-set",
		why:   "a heartbeat of the older life got in between; the newer one dies, and its switch names the older",
		found: "TestModelFleet/a_heartbeat_of_the_life_before_comes_in_between",
		edits: []edit{{"join.go", "	if found.kind == kindState {\n		// The life before", "	if false {\n		// The life before"}},
	},
	{
		name:  "a version once sent is never used again",
		says:  "A node alone writes its own facts, so its own order decides",
		why:   "a change that others heard, and that the store forgot unacknowledged, and the next one are two states under one version",
		found: "TestModelFleet/a_change_is_announced_and_forgotten",
		edits: []edit{
			{"heartbeat.go", "max(k.id.version, k.tried) + 1}, base", "k.id.version + 1}, base"},
		},
	},
	{
		name:  "who took the record away may have taken the lease",
		says:  "Lease before record, so that no record ever stands without a switch",
		why:   "a bucket that is wiped between a lease and its record leaves the record without a switch",
		found: "TestModelARecordThatIsWrittenAgainHasALeaseAtOnce",
		edits: []edit{
			{"recover.go", `	if generation == 0 {
		// Whatever`, `	if false {
		// Whatever`},
		},
	},
	{
		name:  "one process is one life in every scope",
		says:  "two lives never fight",
		why:   "two processes of one name, one newer in this scope and one in that, supersede each other: both stop",
		found: "TestModelFleet/two_processes_join_in_another_order",
		edits: []edit{
			{"join.go", "max(first, found.id.incarnation+1, last+1)", "max(found.id.incarnation+1, last+1)"},
			{"join.go", "	case first == 0:", "	default:"},
		},
	},
	{
		name:  "who finds a newer life in another scope stops",
		says:  "two lives never fight",
		why:   "the same",
		found: "TestModelFleet/two_processes_join_in_another_order",
		edits: []edit{
			{"join.go", "case live && first > 0 && found.id.incarnation > k.lives.newest.Load():", "case false:"},
		},
	},
}
