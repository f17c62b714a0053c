package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// run measures all that is planned. What was measured before an error is in the report.
func (p *plan) run(ctx context.Context, tell *progress) (*report, error) {
	most := 0
	for _, n := range p.Buses {
		most = max(most, n)
	}
	const spare = 200 // files of a server, pipes
	if err := checkOpenFiles(uint64(most + spare)); err != nil {
		return nil, err
	}
	r := &report{At: time.Now(), Machine: thisMachine(), Plan: p, Fleets: []fleetRow{}, Records: []recordsRow{}}
	var errs []error
	if len(p.Buses) > 0 {
		two := fleet{plan: p, tell: tell.of("two processes"), buses: 2, processes: 2}
		row := two.measure(ctx, two.twoProcesses)
		r.TwoProcesses = row.Changes
		errs = append(errs, failure(two.tell.name, row.Error))
	}
	for _, n := range p.Buses {
		if ctx.Err() != nil {
			break
		}
		f := fleet{plan: p, tell: tell.of(fmt.Sprint(n, " buses")), buses: n, processes: min(n, p.Processes), two: r.TwoProcesses}
		row := f.measure(ctx, f.everything)
		r.Fleets = append(r.Fleets, row)
		if row.Join != nil {
			errs = append(errs, failure(f.tell.name+": joining", row.Join.Error))
		}
		errs = append(errs, failure(f.tell.name, row.Error))
	}
	for _, n := range p.Records {
		if ctx.Err() != nil {
			break
		}
		s := simulation{plan: p, tell: tell.of(fmt.Sprint(n, " records")), count: n}
		row := s.measure(ctx)
		r.Records = append(r.Records, row)
		errs = append(errs, failure(s.tell.name, row.Error))
	}
	if ctx.Err() != nil {
		return r, nil
	}
	return r, errors.Join(errs...)
}

func failure(what, why string) error {
	if why == "" {
		return nil
	}
	return fmt.Errorf("%s: %s", what, why)
}

// progress says on standard error how far it is.
type progress struct {
	w     io.Writer
	began time.Time
	name  string
}

func newProgress(w io.Writer) *progress { return &progress{w: w, began: time.Now()} }

func (t *progress) of(name string) *progress { return &progress{t.w, t.began, name} }

func (t *progress) say(format string, args ...any) {
	fmt.Fprintf(t.w, "%6.1fs  %s: %s\n", time.Since(t.began).Seconds(), t.name, fmt.Sprintf(format, args...))
}
