//go:build linux && long

package chaos_test

func init() { shortRuns = 3 }
