package model_test

// rule is one rule of the design, and how it is taken out of the source.
type rule struct {
	name  string
	says  string // the design's sentence, or the part of it that the rule is
	edits []edit
	why   string // what goes wrong without it
}

// edit replaces a text that stands exactly once in a file of the root package.
type edit struct{ file, old, new string }

var rules = []rule{
	{
		name: "order by life, not by revision",
		says: "A node alone writes its own facts, so its own order decides",
		why:  "a bucket that went back gives a revision to another state: an older state is shown after a newer one, or the newer one is never shown",
		edits: []edit{
			{"cache.go", "if known != nil && c.id.before(known.id) {", "if known != nil && c.generation < known.generation {"},
		},
	},
	{
		name: "a tombstone beats only what it names",
		says: "a tombstone beats the state whose version it names",
		why:  "the switch of an earlier life buries a later one, which lives",
		edits: []edit{{"cache.go", `	case known != nil && c.id.before(known.id):
		d.contradict(known, c)
	case known != nil && c.kind == kindExpired`, `	case known != nil && c.kind == kindExpired`}},
	},
	{
		name:  "ends are remembered",
		says:  "everything else is ignored",
		why:   "an announcement that comes late raises the dead",
		edits: []edit{{"cache.go", "if known != nil && known.id == c.id || !d.end(c.node).id.before(c.id) {", "if known != nil && known.id == c.id {"}},
	},
	{
		name:  "a delta needs its base",
		says:  "A delta that follows directly on the known version",
		why:   "a lost delta leaves roles that the node never had together",
		edits: []edit{{"cache.go", "case c.kind == kindDelta && known != nil && known.id == life{c.id.incarnation, c.base}:", "case c.kind == kindDelta && known != nil:"}},
	},
	{
		name:  "a gap is fetched",
		says:  "otherwise the record is fetched",
		why:   "what was heard in part is not seen until a sync happens to read it",
		edits: []edit{{"cache.go", "		if d.fetch[c.node].before(c.id) {", "		if false {"}},
	},
	{
		name:  "a contradiction casts doubt",
		says:  "What the bucket does not say is not a fact either",
		why:   "a dead node whose record names an earlier life is listed until whole readings have found that out, twice",
		edits: []edit{{"cache.go", "if c.generation > known.generation {", "if false {"}},
	},
	{
		name:  "a doubt lasts the grace",
		says:  "the node stays listed for one TTL and one heartbeat more, for its owner to write it again",
		why:   "a live node is dropped before it can write again",
		edits: []edit{{"cache.go", "until: d.now.Add(d.grace)}", "until: d.now}"}},
	},
	{
		name: "what a whole reading lacks is doubted",
		says: "a record that is missing without a tombstone is doubted",
		why:  "who died when the bucket was wiped, its switch with it, is listed for ever",
		edits: []edit{{"cache.go", `		case !ok:
			d.cast(n, change{})`, `		case !ok:`}},
	},
	{
		name:  "a doubt runs out",
		says:  "and only then is it dropped as expired",
		why:   "the same",
		edits: []edit{{"cache.go", "case d.believe && !d.now.Before(found.until):", "case false:"}},
	},
	{
		name:  "a doubt does not run out while the bus is not believed",
		says:  "those nodes stay listed until they return or the grace ends",
		why:   "nobody can write again while there is no leader: all are dropped who live",
		edits: []edit{{"cache.go", "case d.believe && !d.now.Before(found.until):", "case !d.now.Before(found.until):"}},
	},
	{
		name:  "a reading casts no doubt on what was heard since it began",
		says:  "a record that is missing without a tombstone is doubted",
		why:   "a doubt begins before the bucket lacks anything, and has run out when it does",
		edits: []edit{{"cache.go", "|| n.heard > d.began ||", "||"}},
	},
	{
		name:  "a process believes nobody about itself",
		says:  "A node alone writes its own facts",
		why:   "a tombstone takes a process out of its own snapshot",
		edits: []edit{{"cache.go", "	case c.node == d.old.self && c.id.incarnation <= d.own:\n		return // about this very process, which knows better\n", ""}},
	},
	{
		name: "a process does not doubt itself",
		says: "A node alone writes its own facts",
		why:  "the same, slower",
		edits: []edit{
			{"cache.go", "	if known.name == d.old.self {\n		return\n	}\n", ""},
			{"cache.go", "n.heard > d.began || n.name == d.old.self {", "n.heard > d.began {"},
		},
	},
	{
		name:  "expired is not believed while heartbeats fail",
		says:  "While my own heartbeats do not succeed I believe no tombstone of kind expired",
		why:   "an outage that begins elsewhere reports others lost, though all are cut off",
		edits: []edit{{"trust.go", "return !t.failing && !t.late(now) &&", "return !t.late(now) &&"}},
	},
	{
		name:  "nor when the last success is long ago",
		says:  "While my own heartbeats do not succeed I believe no tombstone of kind expired",
		why:   "a machine that was asleep wakes up and believes that all others died",
		edits: []edit{{"trust.go", "return !t.failing && !t.late(now) &&", "return !t.failing &&"}},
	},
	{
		name:  "nor for one grace period after they succeed again",
		says:  "and for one grace period after they succeed again",
		why:   "who reconnects first sees the switches of the others fire",
		edits: []edit{{"trust.go", "regained = t.failing || t.late(now)\n	if regained {", "regained = t.failing || t.late(now)\n	if false {"}},
	},
	{
		name:  "a late switch is doubted",
		says:  "a live node whose heartbeat could not get through was buried by the new leader: hence section 6",
		why:   "who only reads does not notice that there was no leader; the new one fires what fell due",
		edits: []edit{{"cache.go", "(!d.believe || c.late > maxLate)", "!d.believe"}},
	},
	{
		name:  "a late switch shakes the trust in those in time",
		says:  "a live node whose heartbeat could not get through was buried by the new leader: hence section 6",
		why:   "right after the late ones come some in time, just as wrong",
		edits: []edit{{"member.go", "if snap.outage(n.changes) {", "if false {"}},
	},
	{
		name:  "who was buried and never late trusts nobody",
		says:  "The same if I was buried myself although I was never late",
		why:   "a server whose clock is wrong buries one after another, and all believe it",
		edits: []edit{{"heartbeat.go", "				k.trust.shake(now) // buried, but never late", "				_ = now"}},
	},
	{
		name: "lease before record",
		says: "Lease before record, so that no record ever stands without a switch",
		why:  "a process that dies between the two leaves a record that nothing ever buries",
		edits: []edit{{"heartbeat.go", `	if err := k.arm(ctx, replaces); err != nil {
		return err
	}
	c := change{kind: kindState, node: k.node, id: k.id, roles: roles, meta: k.meta}
	k.written = true
	generation, err := k.put(ctx, c, replaces)
	if err != nil {
		return err
	}
`, `	c := change{kind: kindState, node: k.node, id: k.id, roles: roles, meta: k.meta}
	k.written = true
	generation, err := k.put(ctx, c, replaces)
	if err != nil {
		return err
	}
	if err := k.arm(ctx, generation); err != nil {
		return err
	}
`}},
	},
	{
		name: "a record is compared and set",
		says: "one writer per scope brings the record there with a compare-and-set",
		why:  "an older life writes over a newer one",
		edits: []edit{{"heartbeat.go", "	return k.store.put(ctx, k.scope, c, replaces)", `	if _, now, err := k.store.get(ctx, k.scope, k.node); err == nil {
		replaces = now
	}
	return k.store.put(ctx, k.scope, c, replaces)`}},
	},
	{
		name: "a heartbeat is conditional",
		says: "A refusal tells the node at once that its record was buried, taken over or wiped",
		why:  "a wiped record is missed only when somebody reads",
		edits: []edit{{"heartbeat.go", "	if err := k.store.arm(ctx, k.scope, c, record); err != nil {", `	if _, found, err := k.store.get(ctx, k.scope, k.node); err == nil {
		record = found
	}
	if err := k.store.arm(ctx, k.scope, c, record); err != nil {`}},
	},
	{
		name:  "a rewrite is above every bound",
		says:  "Leases, and so the tombstones that come of them, carry the incarnation and version that they bury",
		why:   "who heard the tombstone takes the new record for part of what it buried",
		edits: []edit{{"heartbeat.go", "k.id.version = max(k.id.version, k.bound) + 1", "k.id.version++"}},
	},
	{
		name:  "a lease names the versions to come",
		says:  "Leases, and so the tombstones that come of them, carry the incarnation and version that they bury",
		why:   "a crash right after a change leaves a tombstone that buries too little",
		edits: []edit{{"heartbeat.go", "id: life{k.id.incarnation, bound}, due: now.Add(k.ttl)}", "id: k.id, due: now.Add(k.ttl)}"}},
	},
	{
		name:  "no change beyond what the lease buries",
		says:  "Leases, and so the tombstones that come of them, carry the incarnation and version that they bury",
		why:   "the same, after a thousand changes between two heartbeats",
		edits: []edit{{"heartbeat.go", "		if c.id.version > k.bound {", "		if false {"}},
	},
	{
		name:  "an incarnation above the found one",
		says:  "one more than the record found",
		why:   "a machine whose clock is behind, or a restart within a millisecond: two lives with one number",
		edits: []edit{{"heartbeat.go", "max(uint64(time.Now().UnixMilli()), found.id.incarnation+1)", "uint64(time.Now().UnixMilli())"}},
	},
	{
		name:  "an incarnation at least the wall clock",
		says:  "at least the wall clock in milliseconds",
		why:   "when the bucket has forgotten a node that others remember, its new life counts as an old one",
		edits: []edit{{"heartbeat.go", "max(uint64(time.Now().UnixMilli()), found.id.incarnation+1)", "found.id.incarnation+1"}},
	},
	{
		name:  "the superseded stops",
		says:  "the older, if it still runs, finds out by its refused heartbeat, stops",
		why:   "two lives write over each other for ever",
		edits: []edit{{"heartbeat.go", "	if found.id.incarnation > k.id.incarnation {", "	if false {"}},
	},
	{
		name:  "after a failure the record is looked at",
		says:  "every node finds its heartbeat refused or failing, re-creates what it may, writes its record again",
		why:   "a bucket that went back gave the record's generation to its tombstone: heartbeats pass, the record is gone",
		edits: []edit{{"heartbeat.go", "		suspicious = err != nil // who knows what was stored", "		suspicious = false"}},
	},
	{
		name:  "after a reconnect the record is looked at",
		says:  "every node finds its heartbeat refused or failing, re-creates what it may, writes its record again",
		why:   "the same, when the outage was too short for a heartbeat to fail",
		edits: []edit{{"member.go", "	m.catcher.ask(asked{whole: true})\n	if m.keeper != nil {\n		poke(m.keeper.nudge)\n	} else {", "	m.catcher.ask(asked{whole: true})\n	if m.keeper == nil {"}},
	},
	{
		name:  "news about itself make a node look",
		says:  "every node finds its heartbeat refused or failing, re-creates what it may, writes its record again",
		why:   "a tombstone that others heard, and that the bucket forgot, stands in their way for ever",
		edits: []edit{{"member.go", "m.disputed(n, next) {\n		poke(m.keeper.nudge)\n", "m.disputed(n, next) {\n"}},
	},
	{
		name:  "what a tombstone said is remembered",
		says:  "a tombstone beats the state whose version it names",
		why:   "the same: the record looks as it should",
		edits: []edit{{"heartbeat.go", "	if told := k.told.Load(); told >= k.id.version {", "	if told := k.told.Load(); false {"}},
	},
	{
		name: "a record is written again though it is one's own",
		says: "the truth lives in the processes: every node notices and says again what is so",
		why:  "a leader that died took the announcement with it: the change is seen when somebody reads",
		edits: []edit{{"heartbeat.go", "	// Also if the record is this life's own:", `	if found.kind == kindState && found.id == (life{k.id.incarnation, k.id.version + 1}) {
		k.id, k.generation, k.roles = found.id, generation, found.roles
		if roles, rev, _ := k.want.current(); len(missing(roles, k.roles))+len(missing(k.roles, roles)) == 0 {
			k.want.confirm(rev, k.id)
		}
		return nil
	}
	// Also if the record is this life's own:`}},
	},
	{
		name:  "each sync asks for the newest",
		says:  "every sync interval: one direct get of the scope's newest record says whether anything is missing",
		why:   "the last announcement, lost, is missed for four syncs",
		edits: []edit{{"catchup.go", "k.ask(asked{check: true, newer:", "k.ask(asked{check: false, newer:"}},
	},
	{
		name:  "every fourth sync reads what is newer",
		says:  "only then is anything read, from the known generation on",
		why:   "a lost announcement that another one hides is missed until the whole scope is read",
		edits: []edit{{"catchup.go", "newer: round%newerEvery == 0,", "newer: false,"}},
	},
	{
		name:  "every sixteenth sync reads the whole scope",
		says:  "At times the whole scope is compared, so that a wiped bucket is noticed",
		why:   "a record that is purged is never missed",
		edits: []edit{{"catchup.go", "whole: round%wholeEvery == 0})", "whole: false})"}},
	},
	{
		name:  "after a reconnect the whole scope is read",
		says:  "At times (and after each reconnect) the whole scope is compared",
		why:   "what was announced meanwhile waits for a sync",
		edits: []edit{{"member.go", "	m.catcher.ask(asked{whole: true})\n	if m.keeper != nil {\n		poke(m.keeper.nudge)", "	if m.keeper != nil {\n		poke(m.keeper.nudge)"}},
	},
	{
		name:  "a bucket that went back is read whole",
		says:  "so that a wiped bucket is noticed",
		why:   "what is written in a bucket made anew is not found: it is older than the cursor",
		edits: []edit{{"catchup.go", "case whole, newest < k.cursor, newest < heard:", "case whole:"}},
	},
	{
		name:  "only a node's own lease buries it",
		says:  "A change that came out of a schedule counts only if it is a tombstone from that node's own lease",
		why:   "anybody's schedule takes anybody out",
		edits: []edit{{"change.go", `if scheduler == "" || c.kind.isTombstone() && scheduler == subj.lease(scope, c.node) {`, "if true {"}},
	},
	{
		name: "a goodbye is compared and set",
		says: "two lives never fight",
		why:  "the goodbye of an older life goes over the record of a newer one",
		edits: []edit{{"heartbeat.go", "		err := k.store.bury(ctx, k.scope, c, generation)", `		if _, now, err := k.store.get(ctx, k.scope, k.node); err == nil {
			generation = now
		}
		err := k.store.bury(ctx, k.scope, c, generation)`}},
	},
	{
		name:  "a takeover arms the lease once more",
		says:  "the new incarnation takes the record over by compare-and-set",
		why:   "a heartbeat of the older life got in between; the newer one dies, and its switch names the older",
		edits: []edit{{"heartbeat.go", "	if found.kind == kindState {\n		// The life before", "	if false {\n		// The life before"}},
	},
}
