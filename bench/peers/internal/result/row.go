// Package result is what was measured: rows, how several runs become one, and how they are shown.
package result

import (
	"math"
	"slices"
	"time"
)

// Role says what a system is in a comparison.
type Role string

// The roles.
const (
	Floor Role = "floor" // the least that the work can cost: what all others stand on
	Ours  Role = "rolebus"
	Peer  Role = "peer"
)

// Row is one quantity of one system.
type Row struct {
	Work   string   `json:"work"`
	Case   string   `json:"case"`
	System string   `json:"system"`
	Role   Role     `json:"role"`
	Unit   string   `json:"unit"`
	Median float64  `json:"median"`
	P99    float64  `json:"p99,omitempty"`    // with fewer than 100 samples, the largest one
	Allocs *float64 `json:"allocs,omitempty"` // per operation
	// Samples is how many there were in each run.
	Samples int      `json:"samples"`
	Notes   []string `json:"notes,omitempty"`

	// These are filled by Merge: how many times the floor, and rolebus, this is; 0 if there is none.
	PerFloor float64 `json:"per_floor,omitempty"`
	PerOurs  float64 `json:"per_rolebus,omitempty"`

	// Charted says that the row's case belongs in the drawing.
	Charted bool `json:"-"`
}

// Exact says whether P99 is one: of fewer samples it is only the largest.
func (r Row) Exact() bool { return r.Samples >= 100 }

// Measured fills a row with the median and the 99th percentile of durations, in ms.
func (r Row) Measured(took []time.Duration) Row {
	ms := make([]float64, len(took))
	for i, d := range took {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	slices.Sort(ms)
	r.Unit, r.Samples = "ms", len(ms)
	r.Median, r.P99 = Median(ms), ms[min(len(ms)-1, int(0.99*float64(len(ms))))]
	return r
}

// Of fills a row with a case, a unit, and the median of values.
func (r Row) Of(kind, unit string, values []float64) Row {
	r.Case, r.Unit, r.Median, r.Samples = kind, unit, Median(values), len(values)
	return r
}

// Median returns the middle value, or the mean of the two that share the middle; NaN of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// Merge makes one list of those of several runs: each number is the median over the runs. The order is that of the first
// run. Then it compares: rows of the same work and case with their floor and with rolebus.
func Merge(runs [][]Row) []Row {
	type key struct{ work, kind, system string }
	all := map[key][]Row{}
	var order []key
	for _, run := range runs {
		for _, r := range run {
			k := key{r.Work, r.Case, r.System}
			if all[k] == nil {
				order = append(order, k)
			}
			all[k] = append(all[k], r)
		}
	}
	var out []Row
	for _, k := range order {
		out = append(out, middle(all[k]))
	}
	for i := range out {
		r := &out[i]
		r.PerFloor = r.times(out, Floor)
		r.PerOurs = r.times(out, Ours)
	}
	return out
}

// middle is one row of several runs.
func middle(rows []Row) Row {
	r := rows[0]
	var medians, p99s, allocs []float64
	for _, row := range rows {
		medians, p99s = append(medians, row.Median), append(p99s, row.P99)
		if row.Allocs != nil {
			allocs = append(allocs, *row.Allocs)
		}
	}
	r.Median, r.P99 = Median(medians), Median(p99s)
	if len(allocs) > 0 {
		r.Allocs = new(Median(allocs))
	}
	return r
}

// times says how many times the first row of a role, in the same work and case, this one is.
func (r Row) times(rows []Row, role Role) float64 {
	for _, other := range rows {
		if other.Work == r.Work && other.Case == r.Case && other.Role == role && other.Median > 0 {
			return r.Median / other.Median
		}
	}
	return 0
}
