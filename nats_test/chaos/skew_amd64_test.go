//go:build linux

package chaos_test

func init() { faultKinds = append(faultKinds, clockFaults...) }
