// Package atonce has tests that mostly wait run side by side.
package atonce

import (
	"flag"
	"fmt"
)

// Tests sets how many parallel tests of a package run at once, whatever the number of cores: n, or with the race detector, which keeps
// the cores busy, raced. For TestMain, before the flags are parsed: -parallel says otherwise.
func Tests(n, raced int) {
	if race {
		n = raced
	}
	if err := flag.Set("test.parallel", fmt.Sprint(n)); err != nil {
		panic(err)
	}
}
