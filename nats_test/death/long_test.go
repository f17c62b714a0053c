//go:build long

package death_test

func init() { long = true }
