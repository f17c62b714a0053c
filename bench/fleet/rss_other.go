//go:build !linux

package main

// residentSize is known on Linux only.
func residentSize() uint64 { return 0 }
