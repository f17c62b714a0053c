// Package children is for tests with real processes. A child is the test's own binary, started again with a variable set, and a machine of its
// own, as far as clocks go: they can be moved, and it can sleep. It reads its configuration from the first line of its standard input, orders from
// the others, all in JSON, and ends when that ends: with the test. Linux only.
package children
