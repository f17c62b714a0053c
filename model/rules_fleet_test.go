package model_test

// fleetRules are about buckets of one name.
var fleetRules = []rule{
	{
		name:  "another bucket's announcements are none of ours",
		says:  "the bucket's random id is the fleet's identity",
		why:   "over a leaf node's link the nodes of another fleet come in, and take ours out",
		found: "TestAnotherBucketOfTheSameNameIsIgnored",
		edits: []edit{
			{"decode.go", "	if w.Fleet != fleet {", "	if false {"},
		},
	},
	{
		name:  "who hears another id looks whether the bucket has it",
		says:  "the bucket's random id is the fleet's identity",
		why:   "when the bucket is made anew nobody hears anybody, until each has found out for himself",
		found: "TestABucketMadeAnewIsLookedAt",
		edits: []edit{
			{"loop.go", "			if !m.bus.fleet.stranger(stranger.id) {", "			if false {"},
		},
	},
	{
		name:  "a bucket that was made anew is read whole",
		says:  "so that a wiped bucket is noticed",
		why:   "who only reads, or heartbeats seldom, does not see what was written since, and is not seen",
		found: "TestABucketMadeAnewIsLookedAt",
		edits: []edit{
			{"fleet.go", "		f.moved()", "		_ = f.moved"},
		},
	},
	{
		name:  "the ends of another bucket are none of this one",
		says:  "the bucket's random id is the fleet's identity",
		why:   "whoever comes to another bucket does not see those whose namesakes left where it was",
		found: "TestTheNodesOfAnotherFleetAreListedInTheEnd",
		edits: []edit{
			{"adopt.go", "	next.adopted, next.ends = next.serial, table[end]{}", "	next.adopted = next.serial"},
		},
	},
	{
		name:  "whoever is of another fleet gives way to its namesake",
		says:  "the bucket's random id is the fleet's identity",
		why:   "a namesake of an older life is not seen for an hour",
		found: "TestTheNodesOfAnotherFleetAreListedInTheEnd",
		edits: []edit{
			{"cache.go", "		if found.value.elsewhere {", "		if false {"},
		},
	},
}
