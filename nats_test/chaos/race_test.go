//go:build linux && race

package chaos_test

import "runtime"

func init() { atOnce = runtime.GOMAXPROCS(0) } // what the race detector watches keeps the cores busy
