//go:build race

package embedded

// simSeeds is how many histories a test of simulations has: few, as the race detector makes each ten times as long, and what is simulated has one
// goroutine.
const simSeeds = 20
