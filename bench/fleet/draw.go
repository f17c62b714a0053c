package main

import (
	"fmt"
	"io"
	"time"

	"github.com/rolebus/rolebus/bench/internal/chart"
)

// draw draws how the costs grow, as SVG.
func (r *report) draw(w io.Writer) error {
	c := &curves{}
	for _, f := range r.Fleets {
		n := float64(f.Buses)
		if f.Join != nil && f.Join.Error == "" {
			c.add(joinPlot, "in sync", n, inMs(f.Join.InSync))
			c.add(joinPlot, "connected", n, inMs(f.Join.Connected))
		}
		if f.Leave != nil {
			c.add(joinPlot, "gone", n, inMs(f.Leave.Gone))
		}
		if f.Memory != nil {
			c.add(memoryPlot, "heap", n, f.Memory.Heap/1024)
			c.add(memoryPlot, "RSS", n, f.Memory.RSS/1024)
		}
		for i, row := range f.Changes {
			c.add(changePlot, row.Kind+" role, last", n, inMs(row.Last))
			if i == 0 {
				c.add(changePlot, row.Kind+" role, first", n, inMs(row.First))
			}
			if row.Floor != nil {
				c.add(changePlot, "floor, last", n, inMs(row.Floor.Last))
			}
		}
		for _, i := range f.Idle {
			c.add(cpuPlot, "servers, "+with(i.Probes), n, 100*i.ServerCPU)
			c.add(cpuPlot, "bystander, "+with(i.Probes), n, 100*i.BystanderCPU)
			c.add(messagesPlot, "servers in, "+with(i.Probes), n, i.In)
			c.add(messagesPlot, "bystander in, "+with(i.Probes), n, i.BystanderIn)
			if !i.Probes {
				c.add(messagesPlot, "stored", n, i.Stored)
			}
		}
	}
	for _, s := range r.Records {
		n := float64(s.Records)
		c.add(recordsPlot, "join", n, inMs(s.Join))
		c.add(recordsPlot, fmt.Sprint("burst of ", s.Burst), n, inMs(s.BurstSeen))
		c.add(recordsPlot, "change", n, inMs(s.Change))
	}
	if len(c.plots) == 0 {
		return fmt.Errorf("nothing was measured")
	}
	return chart.Lines(w, fmt.Sprintf("rolebus: how the costs grow (%d cores, %s)", r.Machine.Cores, plural(r.Plan.Servers, "server")), c.plots)
}

// The plots, in the order in which they first get a point.
const (
	joinPlot     = "All join at once, all leave at once"
	memoryPlot   = "Memory of one bus that knows all nodes"
	changePlot   = "One change until the last bus has it"
	cpuPlot      = "Idle: CPU"
	messagesPlot = "Idle: messages"
	recordsPlot  = "By records alone: time of one observer"
)

var units = map[string]string{
	joinPlot: "ms", memoryPlot: "KiB per bus", changePlot: "ms", cpuPlot: "% of one core", messagesPlot: "messages per second",
	recordsPlot: "ms",
}

// curves are plots in the making.
type curves struct{ plots []chart.Plot }

// add adds a point to a line, both of which it makes if need be. What is not positive has no place on the axes.
func (c *curves) add(plot, line string, x, y float64) {
	if y <= 0 {
		return
	}
	p := find(&c.plots, func(p *chart.Plot) bool { return p.Title == plot }, chart.Plot{Title: plot, XLabel: "nodes", YLabel: units[plot]})
	l := find(&p.Lines, func(l *chart.Line) bool { return l.Name == line }, chart.Line{Name: line})
	l.X, l.Y = append(l.X, x), append(l.Y, y)
}

// find returns the element of a list for which is holds, after adding this one if there is none.
func find[T any](list *[]T, is func(*T) bool, otherwise T) *T {
	for i := range *list {
		if is(&(*list)[i]) {
			return &(*list)[i]
		}
	}
	*list = append(*list, otherwise)
	return &(*list)[len(*list)-1]
}

func inMs(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
