//go:build race

package examples_test

func init() { buildFlags = append(buildFlags, "-race") } // the programs are as watched as the tests
