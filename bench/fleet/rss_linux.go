package main

import (
	"bytes"
	"os"
	"strconv"
)

// residentSize is how much memory of this process is resident, in bytes; 0 if the system does not say.
func residentSize() uint64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(raw)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
