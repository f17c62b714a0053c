package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// report is everything that was measured.
type report struct {
	At      time.Time `json:"at"`
	Machine machine   `json:"machine"`
	Plan    *plan     `json:"plan"`

	TwoProcesses []changeRow  `json:"two_processes"` // writer and reader in two processes, with the server in a third
	Fleets       []fleetRow   `json:"fleets"`
	Records      []recordsRow `json:"records"`
}

// fleetRow is a fleet of one size. What could not be measured is nil.
type fleetRow struct {
	Buses     int         `json:"buses"`
	Processes int         `json:"processes"`
	Join      *joinRow    `json:"join,omitempty"`
	Memory    *memoryRow  `json:"memory,omitempty"`
	Changes   []changeRow `json:"changes,omitempty"`
	Idle      []idleRow   `json:"idle,omitempty"`
	Leave     *leaveRow   `json:"leave,omitempty"`
	Error     string      `json:"error,omitempty"`
}

// joinRow counts from the moment when all were told to connect.
type joinRow struct {
	Connected time.Duration `json:"connected_ns"` // until the last call of Connect returned
	InSync    time.Duration `json:"in_sync_ns"`   // until every snapshot listed all
	Error     string        `json:"error,omitempty"`
}

// memoryRow is what a bus adds to its process while it lists all the nodes.
type memoryRow struct {
	Heap float64 `json:"heap_per_bus_bytes"`
	RSS  float64 `json:"rss_per_bus_bytes"`
}

// changeRow is how a change of one kind reached all buses: the spread over the buses, each as the median over the
// changes.
type changeRow struct {
	Kind    string        `json:"kind"`
	Changes int           `json:"changes"`
	First   time.Duration `json:"first_ns"`
	Median  time.Duration `json:"median_ns"`
	Last    time.Duration `json:"last_ns"`
	LastP99 time.Duration `json:"last_p99_ns"`

	Floor        *changeRow `json:"floor,omitempty"`
	PerTwo       float64    `json:"last_per_two_processes,omitempty"`
	PerFloorLast float64    `json:"last_per_floor_last,omitempty"`
}

// idleRow is what a fleet costs in which nobody changes anything. CPU is in cores: 1 is all of one.
type idleRow struct {
	Probes   bool          `json:"probes"`
	Nodes    int           `json:"nodes"` // with the bystander
	Observed time.Duration `json:"observed_ns"`

	ServerCPU float64 `json:"server_cpu_cores"`
	Stored    float64 `json:"stored_per_s"`
	Expected  float64 `json:"heartbeats_per_s"` // of all nodes, by the TTL
	In        float64 `json:"server_in_per_s"`
	Out       float64 `json:"server_out_per_s"`
	BusCPU    float64 `json:"bus_cpu_cores"` // of each, on the average

	// Of the bystander, a node that is alone in its process.
	BystanderCPU float64 `json:"bystander_cpu_cores"`
	BystanderIn  float64 `json:"bystander_in_per_s"`
	BystanderOut float64 `json:"bystander_out_per_s"`
}

// leaveRow counts from the moment when all were told to close.
type leaveRow struct {
	Closed time.Duration `json:"closed_ns"` // until the last call of Close returned
	Gone   time.Duration `json:"gone_ns"`   // until an observer listed nobody
	Late   int           `json:"late"`      // buses whose goodbye was not confirmed in time
}

// recordsRow is a scope that is simulated by its records alone.
type recordsRow struct {
	Records int `json:"records"`

	Loaded float64       `json:"loaded_per_s"`
	Join   time.Duration `json:"join_ns"` // an observer's, which reads all of them
	// The CPU time that the join took in the observer and in the servers.
	JoinObserver time.Duration `json:"join_observer_cpu_ns"`
	JoinServers  time.Duration `json:"join_servers_cpu_ns"`

	Heap    float64       `json:"heap_per_node_bytes"`
	RSS     float64       `json:"rss_per_node_bytes"`
	Changes int           `json:"changes"`
	Change  time.Duration `json:"change_ns"` // of one record, until the observer's Watch shows it: the median
	P99     time.Duration `json:"change_p99_ns"`

	Burst       int           `json:"burst"` // changes, as fast as they can be stored
	BurstStored time.Duration `json:"burst_stored_ns"`
	BurstSeen   time.Duration `json:"burst_seen_ns"`
	Snapshots   int           `json:"burst_snapshots"` // that the observer met meanwhile

	Leases     int     `json:"leases"`
	LeaseRate  float64 `json:"leases_per_s"`
	LeaseCPU   float64 `json:"leases_server_cpu_cores"`
	LeaseNodes float64 `json:"leases_nodes"` // that heartbeat at this rate with the plan's TTL

	Error string `json:"error,omitempty"`
}

// publish prints the tables and writes the files that the plan asks for.
func (r *report) publish(p *plan, stdout io.Writer) error {
	err := r.print(stdout)
	if p.jsonFile != "" {
		err = errors.Join(err, write(p.jsonFile, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(r)
		}))
	}
	if p.svgFile != "" {
		err = errors.Join(err, write(p.svgFile, r.draw))
	}
	return err
}

func write(name string, fill func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
