package model_test

// snapshotRules are about what becomes of news, and about what was missed.
var snapshotRules = []rule{
	{
		name:  "order by life, not by revision",
		says:  "A node alone writes its own facts, so its own order decides",
		why:   "a bucket that went back gives a revision to another state: an older state is shown after a newer one, or the newer one is never shown",
		found: "TestModelSearch/a_store_that_loses_and_goes_back",
		edits: []edit{
			{"cache.go", "if known != nil && c.id.before(known.id) {", "if known != nil && c.generation < known.generation {"},
		},
	},
	{
		name:  "a tombstone beats only what it names",
		says:  "a tombstone beats the state whose version it names",
		why:   "the switch of an earlier life buries a later one, which lives",
		found: "TestModelSearch/two_lives",
		edits: []edit{{"cache.go", `	case known != nil && c.id.before(known.id):
		d.contradict(known, c)
	case known != nil && c.kind == kindExpired`, `	case known != nil && c.kind == kindExpired`}},
	},
	{
		name:  "ends are remembered",
		says:  "everything else is ignored",
		why:   "an announcement that comes late raises the dead",
		found: "TestModelSearch/changes",
		edits: []edit{{"cache.go", "if known != nil && known.id == c.id || !d.ends.get(c.node).id.before(c.id) && !d.rearmed(c) {", "if known != nil && known.id == c.id {"}},
	},
	{
		name:  "a delta needs its base",
		says:  "A delta that follows directly on the known version",
		why:   "a lost delta leaves roles that the node never had together",
		found: "TestModelSearch/changes",
		edits: []edit{{"cache.go", "case c.kind == kindDelta && known != nil && known.id == life{c.id.incarnation, c.base}:", "case c.kind == kindDelta && known != nil:"}},
	},
	{
		name:  "a gap is fetched",
		says:  "otherwise the record is fetched",
		why:   "what was heard in part is not seen until a sync happens to read it",
		found: "TestModelSearch/changes",
		edits: []edit{{"cache.go", "		if d.gap.nodes[c.node].before(c.id) {", "		if false {"}},
	},
	{
		name:  "a contradiction casts doubt",
		says:  "What the bucket does not say is not a fact either",
		why:   "a dead node whose record names an earlier life is listed until whole readings have found that out, twice",
		found: "TestModelSearch",
		edits: []edit{{"cache.go", "if c.generation > known.generation {", "if false {"}},
	},
	{
		name:  "a doubt lasts the grace",
		says:  "the node stays listed for one TTL and one heartbeat more, for its owner to write it again",
		why:   "a live node is dropped before it can write again",
		found: "TestModelSearch",
		edits: []edit{{"cache.go", "until := d.now.Add(graceOf(known.ttl))", "until := d.now"}},
	},
	{
		name:  "a doubt begins anew with a sign of life",
		says:  "the node stays listed for one TTL and one heartbeat more, for its owner to write it again",
		why:   "who wrote again, unheard, and is buried wrongly once more has no time left to write",
		found: "TestModelADoubtBeginsAnew",
		edits: []edit{
			{"cache.go", "found != nil && !found.value.id.before(c.id) {", "found != nil {"},
		},
	},
	{
		name:  "what a whole reading lacks is doubted",
		says:  "a record that is missing without a tombstone is doubted",
		why:   "who died when the bucket was wiped, its switch with it, is listed for ever",
		found: "TestModelSearch",
		edits: []edit{{"cache.go", `	case found == nil:
		d.cast(n, change{})`, `	case found == nil:`}},
	},
	{
		name:  "a doubt runs out",
		says:  "and only then is it dropped as expired",
		why:   "the same",
		found: "TestModelSearch",
		edits: []edit{{"cache.go", "case d.believes(n.ttl) && !d.due.Before(found.value.until):", "case false:"}},
	},
	{
		name:  "a doubt does not run out while the bus is not believed",
		says:  "those nodes stay listed until they return or the grace ends",
		why:   "nobody can write again while there is no leader: all are dropped who live",
		found: "TestModelFleet/the_bucket_is_wiped",
		edits: []edit{{"cache.go", "case d.believes(n.ttl) && !d.due.Before(found.value.until):", "case !d.due.Before(found.value.until):"}},
	},
	{
		name:  "a reading casts no doubt on what was heard since it began",
		says:  "a record that is missing without a tombstone is doubted",
		why:   "a doubt begins before the bucket lacks anything, and has run out when it does",
		found: "TestModelSearch/slow_readings",
		edits: []edit{{"cache.go", "|| n.heard > d.began ||", "||"}},
	},
	{
		name:  "a process believes nobody about itself",
		says:  "A node alone writes its own facts",
		why:   "a tombstone takes a process out of its own snapshot",
		found: "TestModelSearch/itself",
		edits: []edit{{"cache.go", "	case c.node == d.old.self && c.id.incarnation <= d.own:\n		return // about this very process, which knows better\n", ""}},
	},
	{
		name:  "a process does not doubt itself",
		says:  "A node alone writes its own facts",
		why:   "the same, slower",
		found: "TestModelSearch/itself",
		edits: []edit{
			{"cache.go", "	if known.name == d.old.self {\n		return\n	}\n", ""},
			{"cache.go", "n.heard > d.began || n.name == d.old.self {", "n.heard > d.began {"},
		},
	},
	{
		name:  "each sync asks for the newest",
		says:  "every sync interval: one direct get of the scope's newest record says whether anything is missing",
		why:   "the last announcement, lost, is missed for four syncs",
		found: "TestModelFleet/announcements_are_lost",
		edits: []edit{{"catchup.go", "k.note(asked{check: true, newer:", "k.ask(asked{check: false, newer:"}},
	},
	{
		name:  "every fourth sync reads what is newer",
		says:  "only then is anything read, from the known generation on",
		why:   "a lost announcement that another one hides is missed until the whole scope is read",
		found: "TestModelFleet/announcements_are_lost",
		edits: []edit{{"catchup.go", "newer: round%newerEvery == 0,", "newer: false,"}},
	},
	{
		name:  "every sixteenth sync reads the whole scope",
		says:  "At times the whole scope is compared, so that a wiped bucket is noticed",
		why:   "a record that is purged is never missed",
		found: "TestModelFleet/the_bucket_is_wiped",
		edits: []edit{{"catchup.go", "whole: whole == 0, all: whole == 0})", "whole: false})"}},
	},
	{
		name:  "after a reconnect the whole scope is read",
		says:  "At times (and after each reconnect) the whole scope is compared",
		why:   "what was announced meanwhile waits for a sync",
		found: "TestModelFleet/one_that_cannot_write_reconnects",
		edits: []edit{{"member.go", "	m.catcher.ask(asked{whole: true, crowd: true})\n	m.reassure()", "	m.reassure()"}},
	},
	{
		name:  "a bucket that went back is read whole",
		says:  "so that a wiped bucket is noticed",
		why:   "what is written in a bucket made anew is not found: it is older than the cursor",
		found: "TestModelFleet/a_bucket_is_made_anew,_unheard",
		edits: []edit{{"catchup.go", "case todo.whole, newest < k.cursor, newest < heard:", "case todo.whole:"}},
	},
	{
		name:  "only a node's own lease buries it",
		says:  "A change that came out of a schedule counts only if it is a tombstone from that node's own lease",
		why:   "anybody's schedule takes anybody out",
		found: "TestModelFleet/schedules_of_others",
		edits: []edit{{"decode.go", `if scheduler == "" || c.kind.isTombstone() && scheduler == subj.lease(scope, c.node) {`, "if true {"}},
	},
	{
		name:  "before a node is dropped the leader is asked",
		says:  "What the bucket does not say is not a fact either",
		why:   "what one damaged replica lacks takes out who lives",
		found: "TestWhatOneReplicaLacksTakesNobodyOut",
		edits: []edit{{"doubtful.go", "		if c.kind != 0 {\n", "		if false {\n"}},
	},
	{
		name:  "a doubt is counted in the owner's TTL",
		says:  "doubt and grace are counted in the TTL of the owner",
		why:   "whoever has a short TTL drops the living who have a long one, before their next heartbeat",
		found: "TestADoubtIsCountedInTheOwnersTTL",
		edits: []edit{
			{"cache.go", "until := d.now.Add(graceOf(known.ttl))", "until := d.now.Add(graceOf(max(d.ttl, minTTL)))"},
		},
	},
	{
		name:  "who is first though known has everything read",
		says:  "so that a wiped bucket is noticed",
		why:   "who died when the bucket was wiped, its switch with it, is listed until the next whole reading",
		found: "TestWhoDiesWhenTheBucketIsWipedIsMissedSoon",
		edits: []edit{
			{"cache.go", "		d.gap.whole = true", "		_ = d.gap"},
		},
	},
}
