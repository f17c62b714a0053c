package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// usage is what a process has used of the machine.
type usage struct {
	At   time.Time     `json:"at"`
	CPU  time.Duration `json:"cpu"`  // so far, in user and in system mode
	Heap uint64        `json:"heap"` // bytes in objects, and in the stacks of goroutines
	RSS  uint64        `json:"rss"`  // bytes of memory that are resident; 0 if unknown
}

const doUsage = "tell usage"

type usageOrder struct {
	Collect bool `json:"collect"` // the garbage first
}

// measureUsage is a duty of every kind of process.
func measureUsage(_ context.Context, o usageOrder) (usage, error) {
	if o.Collect {
		runtime.GC()         // what this one finds may hold something that
		debug.FreeOSMemory() // the next one frees
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	cpu, err := cpuTime()
	return usage{At: time.Now(), CPU: cpu, Heap: mem.HeapAlloc + mem.StackInuse, RSS: residentSize()}, err
}

// load is the share of one core that was used between two moments: 1 is a whole core.
func load(before, after usage) float64 {
	took := after.At.Sub(before.At)
	if took <= 0 {
		return 0
	}
	return float64(after.CPU-before.CPU) / float64(took)
}

// loads adds up the loads of several processes.
func loads(before, after []usage) (sum float64) {
	for i := range before {
		sum += load(before[i], after[i])
	}
	return sum
}
