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
}
