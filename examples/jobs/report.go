package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
)

var errWrong = errors.New("the result is wrong")

// outcome is how a job ended.
type outcome struct {
	due, ended time.Time
	again      []error // why it was given to one more worker
	err        error   // it is lost
}

// trouble is what happened to a worker, and for how long that may have been felt.
type trouble struct {
	fault    fault
	from, to time.Time // to: zero while it lasts
}

// report gathers what happened.
type report struct {
	mu       sync.Mutex
	outcomes []outcome
	again    int
	lost     int
	troubles []*trouble
	last     map[string]*trouble // by worker
}

func (r *report) add(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, o)
	if len(o.again) > 0 {
		r.again++
	}
	if o.err != nil {
		r.lost++
	}
}

func (r *report) counts() (done, again, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.outcomes) - r.lost, r.again, r.lost
}

// begins notes a fault, and returns what is to be called when it is over; the first call counts.
func (r *report) begins(name string, f fault) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &trouble{fault: f, from: time.Now()}
	if r.last == nil {
		r.last = map[string]*trouble{}
	}
	r.troubles, r.last[name] = append(r.troubles, t), t
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if t.to.IsZero() {
			t.to = time.Now()
		}
	}
}

// since tells how long ago a worker's last fault was.
func (r *report) since(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.last[name]
	if t == nil {
		return ""
	}
	return fmt.Sprintf(" %s after %s", short(time.Since(t.from)), t.fault)
}

// during returns the fault that a job has met, "" if there was none. Of several it is the one that is felt longest.
func (r *report) during(o outcome) fault {
	var met fault
	for _, t := range r.troubles {
		if o.ended.Before(t.from) || !t.to.IsZero() && o.due.After(t.to) {
			continue
		}
		if met != freeze && (met != kill || t.fault == freeze) {
			met = t.fault
		}
	}
	return met
}

// print prints the table. The error says that jobs were lost.
func (r *report) print(paint func(about, text string) string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	by := map[fault][]outcome{}
	for _, o := range r.outcomes {
		f := r.during(o)
		by[f] = append(by[f], o)
	}
	number := map[fault]int{}
	for _, t := range r.troubles {
		number[t.fault]++
	}
	fmt.Println(paint("title", fmt.Sprintf("\n%-18s%8s%8s%6s%10s%10s%10s%10s", "", "jobs", "again", "lost", "p50", "p99", "worst", "p99 again")))
	fmt.Println(row("calm", by[""]))
	for _, f := range []fault{terminate, kill, freeze} {
		if number[f] > 0 {
			fmt.Println(row(fmt.Sprintf("during %d %s", number[f], f), by[f]))
		}
	}
	fmt.Println(row("all", r.outcomes))
	if r.again > 0 {
		fmt.Println("\nagain: the job was given to one more worker, because of the one before")
	}
	for _, reason := range []struct {
		err  error
		told string
	}{
		{rolebus.ErrNodeGone, "it was gone: the snapshot said so"},
		{nats.ErrNoResponders, "it was gone: nobody listened"},
		{errSlow, "it had not answered yet"},
		{errRefused, "it had enough to do"},
	} {
		n := 0
		for _, o := range r.outcomes {
			for _, err := range o.again {
				if errors.Is(err, reason.err) {
					n++
				}
			}
		}
		if n > 0 {
			fmt.Printf("%8d  %s\n", n, reason.told)
		}
	}
	fmt.Println()
	if r.lost > 0 {
		return fmt.Errorf("%d of %d jobs are lost", r.lost, len(r.outcomes))
	}
	fmt.Println("no job was lost, and every result is right")
	return nil
}

func row(name string, outcomes []outcome) string {
	var all, again []time.Duration
	lost := 0
	for _, o := range outcomes {
		took := o.ended.Sub(o.due)
		all = append(all, took)
		if len(o.again) > 0 {
			again = append(again, took)
		}
		if o.err != nil {
			lost++
		}
	}
	return strings.TrimRight(fmt.Sprintf("%-18s%8d%8d%6d%10s%10s%10s%10s", name, len(all), len(again), lost,
		quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1), quantile(again, 0.99)), " ")
}

// quantile returns the time within which that part of the jobs had ended.
func quantile(times []time.Duration, part float64) string {
	if len(times) == 0 {
		return "-"
	}
	slices.Sort(times)
	return short(times[max(0, int(float64(len(times))*part+0.999999)-1)])
}

func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
