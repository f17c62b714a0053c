//go:build race

package nats_test

import "runtime"

func init() { atOnce = runtime.GOMAXPROCS(0) } // what the race detector watches keeps the cores busy
