//go:build linux && long

package chaos_test

import "time"

func init() { shortRuns, shortRun = 3, 12*time.Second }
