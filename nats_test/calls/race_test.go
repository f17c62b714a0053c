//go:build race

package calls_test

// With the race detector everything takes several times as long.
func init() { rate = 1000 }
