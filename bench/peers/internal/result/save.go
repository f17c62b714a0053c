package result

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus/bench/internal/chart"
)

// Report is the whole of a measurement, with what it was measured on.
type Report struct {
	Began   time.Time         `json:"began"`
	Seconds float64           `json:"seconds"`
	Runs    int               `json:"runs"`
	Quick   bool              `json:"quick"` // tiny counts: a check that all works, no measurement
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	CPU     string            `json:"cpu,omitempty"`
	Cores   int               `json:"cores"`
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"` // the versions of what was compared
	Rows    []Row             `json:"rows"`
}

// Describe fills in the machine and the versions.
func (r *Report) Describe(modules ...string) {
	r.OS, r.Arch, r.Cores, r.Go = runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()
	r.CPU = cpuName()
	r.Modules = map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	for _, m := range info.Deps {
		if slices.Contains(modules, m.Path) {
			r.Modules[m.Path] = m.Version
		}
	}
}

// cpuName is what Linux calls the processor; "" elsewhere.
func cpuName() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Machine is a line about what it was measured on.
func (r *Report) Machine() string {
	var versions []string
	for path, version := range r.Modules {
		parts := strings.Split(strings.TrimPrefix(path, "github.com/"), "/")
		name := parts[min(1, len(parts)-1)]
		versions = append(versions, name+" "+version)
	}
	slices.Sort(versions)
	return fmt.Sprintf("%s/%s, %d cores%s, %s, %s", r.OS, r.Arch, r.Cores, prefixed(" of ", r.CPU), r.Go,
		strings.Join(versions, ", "))
}

func prefixed(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteSVG draws the cases that are marked for it.
func (r *Report) WriteSVG(w io.Writer) error {
	var panels []chart.Panel
	for _, row := range r.Rows {
		if !row.Charted {
			continue
		}
		title := row.Work + ": " + row.Case
		if len(panels) == 0 || panels[len(panels)-1].Title != title {
			panels = append(panels, chart.Panel{Title: title, Unit: row.Unit})
		}
		bar := chart.Bar{Label: row.System, Value: row.Median, Ours: strings.HasPrefix(row.System, string(Ours))}
		switch {
		case row.Allocs != nil:
			bar.Note = fmt.Sprintf("%.3g allocs", *row.Allocs)
		case row.P99 > 0 && row.Exact():
			bar.Note = "p99 " + Number(row.P99)
		}
		last := &panels[len(panels)-1]
		last.Bars = append(last.Bars, bar)
	}
	return chart.Bars(w, "The same work, side by side", panels)
}
