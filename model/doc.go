// Package model takes the rules of rolebus out of its source, one at a time, and demands that the model in the root
// package's tests then finds the bug. It holds nothing but tests; docs/MODEL.md is about them.
package model
