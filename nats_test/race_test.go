//go:build race

package nats_test

import "runtime"

func init() { atOnce = 2 * runtime.GOMAXPROCS(0) } // fewer: what the race detector watches keeps the cores busy
