//go:build !unix

package death_test

import "testing"

func TestFrozen(t *testing.T) {
	if *modeFlag == "freeze" {
		t.Fatal("a process cannot be frozen on this system: use a Unix, such as Linux")
	}
}
