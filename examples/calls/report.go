package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/rolebus/rolebus/call"
)

type fate struct {
	err  error
	told string
}

// known is what a caller may be told of a call that was not answered.
var known = []fate{
	{call.ErrNoNode, "nobody has the role"},
	{call.ErrUnreachable, "cannot be reached"},
	{call.ErrDraining, "is draining"},
	{call.ErrBusy, "is busy"},
	{call.ErrTimeout, "no answer in time"},
}

// tally is one line of the table: calls, by what the caller knows.
type tally struct{ answered, not, maybe int }

func (t *tally) add(o outcome) {
	var failed *call.CallError
	switch {
	case o.err == nil:
		t.answered++
	case errors.As(o.err, &failed) && !failed.MayHaveRun():
		t.not++
	default:
		t.maybe++
	}
}

// report is the table, and what it says of the promises.
type report struct {
	methods map[string]*tally
	errors  []tally // of charges, as in known
	charged tally   // what the books say of charges
	broken  []error
}

// count holds what the customers were told against the books, which are complete: every process has ended.
func count(outcomes []outcome, fleet []*process, drained string) report {
	r := report{methods: map[string]*tally{"price": {}, "charge": {}}, errors: make([]tally, len(known))}
	books := map[int]int{}
	for _, p := range fleet {
		for order, times := range p.books {
			books[order] += times
		}
	}
	for _, o := range outcomes {
		r.methods[o.method].add(o)
		i := slices.IndexFunc(known, func(f fate) bool { return errors.Is(o.err, f.err) })
		var failed *call.CallError
		switch {
		case o.err == nil:
		case o.method == "price":
			r.breaks("the price of order %d was not answered: %v", o.order, o.err)
		case i < 0 || !errors.As(o.err, &failed):
			r.breaks("order %d: nobody was to be told this: %v", o.order, o.err)
		default:
			r.errors[i].add(o)
			if failed.MayHaveRun() && failed.Attempts[0].Node.Name() == drained {
				r.breaks("order %d was lost by %s, which was drained: %v", o.order, drained, o.err)
			}
		}
		if o.method == "charge" {
			r.check(o, books[o.order])
			delete(books, o.order)
		}
	}
	for order := range books {
		r.breaks("order %d was charged, and nobody asked for that", order)
	}
	return r
}

// check compares what a customer was told of a charge with how often it was made.
func (r *report) check(o outcome, times int) {
	var told tally
	told.add(o)
	switch {
	case times > 1:
		r.breaks("order %d was charged %d times", o.order, times)
	case told.answered > 0 && times == 0:
		r.breaks("order %d was answered and not charged", o.order)
	case told.not > 0 && times > 0:
		r.breaks("order %d was charged, and the caller was told that it did not run: %v", o.order, o.err)
	}
	if times > 0 {
		r.charged.add(o)
	}
}

func (r *report) breaks(format string, args ...any) {
	r.broken = append(r.broken, fmt.Errorf(format, args...))
}

// print prints the table. The error says which promises were broken.
func (r *report) print(out io.Writer) error {
	line := func(name string, t tally, note string) {
		fmt.Fprintf(out, "%-8s%8d%10d%13d%14d   %s\n", name, t.answered+t.not+t.maybe, t.answered, t.not, t.maybe, note)
	}
	fmt.Fprintf(out, "\n%-8s%8s%10s%13s%14s\n", "", "calls", "answered", "did not run", "may have run")
	line("price", *r.methods["price"], "may run again: retried")
	line("charge", *r.methods["charge"], "must not: not retried")
	for i, t := range r.errors {
		if t != (tally{}) {
			fmt.Fprintf(out, "%39d%14d   %s\n", t.not, t.maybe, known[i].told)
		}
	}
	fmt.Fprintf(out, "%-16s%10d%13d%14d   by the books of all three\n\n", "charged", r.charged.answered, r.charged.not, r.charged.maybe)
	if err := errors.Join(r.broken...); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "every price was answered, and nobody was told anything wrong of a charge")
	return err
}
