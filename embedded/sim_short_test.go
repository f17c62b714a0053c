//go:build !long && !race

package embedded

// simSeeds is how many histories a test of simulations has.
const simSeeds = 100
