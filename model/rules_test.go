package model_test

import "slices"

// rule is one rule of the design, and how it is taken out of the source.
type rule struct {
	name  string
	says  string // the design's sentence, or the part of it that the rule is
	why   string // what goes wrong without it
	in    string // the folder of its package; empty for the root package
	found string // by which tests: a pattern for -test.run
	edits []edit
}

// edit replaces a text that stands exactly once in a file of the rule's package.
type edit struct{ file, old, new string }

var rules = slices.Concat(snapshotRules, lapseRules, clockRules, lifeRules, outageRules, suspicionRules, fleetRules, termRules, recallRules, judgeRules)
