// Package model takes the rules of rolebus out of its source, one at a time, and demands that some test of their package, of
// its model above all, or a history, then finds the bug. It holds nothing but tests; docs/MODEL.md is about them.
package model
