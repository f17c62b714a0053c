package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// print prints a table for each theme.
func (r *report) print(w io.Writer) error {
	m := r.Machine
	p := &printer{w: w}
	p.line("fleet, %s: %s, %d cores%s; %s, nats-server %s, nats.go %s", r.At.Format("2006-01-02 15:04"), m.System, m.Cores,
		optional(" of ", m.CPU), m.Go, m.Server, m.Client)
	connections := "a connection for each bus"
	if r.Plan.Shared {
		connections = "one connection for the buses of a process"
	}
	p.line("%s, %s, %s, TTL %v%s", plural(r.Plan.Servers, "server"), plural(r.Plan.Processes, "process"), connections, r.Plan.TTL,
		optional("; load averages before: ", m.Load))
	if len(r.Fleets) > 0 {
		r.printJoin(p)
		r.printChanges(p)
		r.printIdle(p)
	}
	if len(r.Records) > 0 {
		r.printRecords(p)
	}
	return errors.Join(p.errs...)
}

func (r *report) printJoin(p *printer) {
	together := "All join at once"
	if r.Plan.Together > 0 {
		together = fmt.Sprintf("%d at a time join", r.Plan.Together)
	}
	p.title("Join, leave, memory", together+", and all leave at once. Connected, closed: the last call returned. In sync: every "+
		"snapshot lists all. Gone: an observer lists nobody. Late: goodbyes that were not confirmed in time.")
	p.row("buses", "connected", "in sync", "closed", "gone", "late", "heap per bus", "RSS per bus")
	for _, f := range r.Fleets {
		row := []string{fmt.Sprint(f.Buses), "", "", "", "", "", "", ""}
		var notes []string
		switch {
		case f.Join == nil:
		case f.Join.Error != "":
			row[1], row[2] = "-", "-"
			notes = append(notes, fmt.Sprintf("not so: %s; the rest after joining %d at a time", f.Join.Error, inTurn))
		default:
			row[1], row[2] = ms(f.Join.Connected), ms(f.Join.InSync)
		}
		if f.Leave != nil {
			row[3], row[4], row[5] = ms(f.Leave.Closed), ms(f.Leave.Gone), fmt.Sprint(f.Leave.Late)
		}
		if f.Memory != nil {
			row[6], row[7] = kib(f.Memory.Heap), kib(f.Memory.RSS)
		}
		if f.Error != "" {
			notes = append(notes, "failed: "+f.Error)
		}
		p.noted(strings.Join(notes, "; "), row...)
	}
	p.flush()
}

func (r *report) printChanges(p *printer) {
	p.title("Change", "From the call of one bus until the first, the middle and the last of all buses have it in Watch: medians over the "+
		"changes, each made after a little quiet. Common: a role that all have; own: one that nobody else has. Floor: one message of core NATS to the same connections.")
	p.row("buses", "role", "changes", "first", "median", "last", "last p99", "floor first", "median", "last", "last/two", "last/floor")
	for _, c := range r.TwoProcesses {
		p.change("two processes", c)
	}
	for _, f := range r.Fleets {
		for _, c := range f.Changes {
			p.change(fmt.Sprint(f.Buses), c)
		}
	}
	p.flush()
}

func (r *report) printIdle(p *printer) {
	p.title("Idle", "Nobody changes anything. CPU is in percent of one core, messages are per second. The bystander is one more node, "+
		"alone in its process. Heartbeats: three per TTL and node; they come up to a tenth early.")
	p.row("buses", "probes", "server CPU", "stored", "heartbeats", "server in", "out", "CPU per bus", "bystander CPU", "in", "out")
	for _, f := range r.Fleets {
		for _, i := range f.Idle {
			p.row(fmt.Sprint(f.Buses), yes(i.Probes), percent(i.ServerCPU), rate(i.Stored), rate(i.Expected), rate(i.In), rate(i.Out),
				percent(i.BusCPU), percent(i.BystanderCPU), rate(i.BystanderIn), rate(i.BystanderOut))
		}
	}
	p.flush()
}

func (r *report) printRecords(p *printer) {
	p.title("By records alone", "One client writes the records of so many nodes, one observer reads them. Change: of one record, until the "+
		"observer's Watch shows it. CPU: that of the join. Burst: that many records at once, until all are stored, and seen.")
	p.row("records", "loaded/s", "join", "observer CPU", "server CPU", "heap per node", "RSS per node", "change p50", "p99", "burst", "stored", "seen", "snapshots")
	for _, s := range r.Records {
		p.noted(optional("failed: ", s.Error), fmt.Sprint(s.Records), rate(s.Loaded), ms(s.Join), ms(s.JoinObserver), ms(s.JoinServers), size(s.Heap), size(s.RSS), ms(s.Change), ms(s.P99), fmt.Sprint(s.Burst),
			ms(s.BurstStored), ms(s.BurstSeen), fmt.Sprint(s.Snapshots))
	}
	p.flush()
	p.title("Heartbeats", fmt.Sprintf("Leases of such a scope are armed anew, as fast as the servers take them. Nodes: so many heartbeat "+
		"at this rate with a TTL of %v.", r.Plan.TTL))
	p.row("records", "leases", "per second", "server CPU", "nodes")
	for _, s := range r.Records {
		p.row(fmt.Sprint(s.Records), fmt.Sprint(s.Leases), rate(s.LeaseRate), percent(s.LeaseCPU), rate(s.LeaseNodes))
	}
	p.flush()
}

// printer prints lines and aligned tables.
type printer struct {
	w     io.Writer
	table *tabwriter.Writer
	errs  []error
}

func (p *printer) line(format string, args ...any) {
	_, err := fmt.Fprintf(p.w, format+"\n", args...)
	p.errs = append(p.errs, err)
}

func (p *printer) title(name, meaning string) {
	p.line("\n%s\n%s", name, meaning)
	p.table = tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func (p *printer) row(cells ...string) { p.noted("", cells...) }

// noted prints a row with a note behind it.
func (p *printer) noted(note string, cells ...string) {
	if note != "" {
		note = "  " + strings.ReplaceAll(note, "\n", "; ")
	}
	_, err := fmt.Fprintln(p.table, strings.Join(cells, "\t")+"\t"+note)
	p.errs = append(p.errs, err)
}

func (p *printer) change(of string, c changeRow) {
	row := []string{of, c.Kind, fmt.Sprint(c.Changes), ms(c.First), ms(c.Median), ms(c.Last), ms(c.LastP99), "", "", "", "", times(c.PerFloorLast)}
	if c.Floor != nil {
		row[7], row[8], row[9] = ms(c.Floor.First), ms(c.Floor.Median), ms(c.Floor.Last)
	}
	row[10] = times(c.PerTwo)
	p.row(row...)
}

func (p *printer) flush() { p.errs = append(p.errs, p.table.Flush()) }

func ms(d time.Duration) string {
	switch v := float64(d) / float64(time.Millisecond); {
	case v < 10:
		return fmt.Sprintf("%.2f ms", v)
	case v < 100:
		return fmt.Sprintf("%.1f ms", v)
	case v < 10_000:
		return fmt.Sprintf("%.0f ms", v)
	default:
		return fmt.Sprintf("%.1f s", v/1000)
	}
}

func rate(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func percent(v float64) string { return fmt.Sprintf("%.2f%%", 100*v) }
func kib(v float64) string     { return fmt.Sprintf("%.0f KiB", v/1024) }
func size(v float64) string    { return fmt.Sprintf("%.0f B", v) }

func times(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", v)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func optional(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}
