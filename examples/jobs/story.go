package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// jobPatience is for how long a job is given to one worker after the other. One that has no result then is lost.
const jobPatience = 30 * time.Second

// story sends jobs while the nemesis harms the workers. The dispatcher is in this process, so that nothing stands between a job's
// end and its time.
type story struct {
	url     string // "" is a server of our own
	lasts   time.Duration
	workers int
	rate    int // jobs in a second
	seed    uint64
	faults  []fault
	hedge   time.Duration
	retry   bool
	events  bool
	color   bool

	bucket string
	bus    *rolebus.Bus
	places []*place
	report report
	undo   []func() error // what to close, the last first

	telling sync.Mutex
	began   time.Time
	fail    context.CancelCauseFunc // ends the story
}

func (s *story) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	s.began = time.Now()
	fmt.Printf("jobs: %d workers, %d jobs a second for %v, %v, -seed %d\n\n", s.workers, s.rate, s.lasts, s.faults, s.seed)
	if err := s.open(ctx); err != nil {
		return err
	}
	for i := range s.workers {
		p := &place{name: fmt.Sprint("worker-", i+1), up: true}
		s.places = append(s.places, p)
		if err := s.start(p); err != nil {
			return err
		}
	}
	if err := s.bus.WaitFor(ctx, worker, s.workers); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	s.tell("", fmt.Sprintf("%d workers are there", s.workers))

	ending, end := context.WithTimeout(ctx, s.lasts)
	defer end()
	var beside sync.WaitGroup
	beside.Go(func() { s.watch(ending) })
	beside.Go(func() { s.nemesis(ending) })
	s.send(ctx, ending)
	beside.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.tell("", "all jobs have ended")
	return s.report.print(s.paint)
}

// open connects to a server, or starts one.
func (s *story) open(ctx context.Context) error {
	url := s.url
	if url == "" {
		srv, err := embedded.Start(embedded.WithServerOptions(func(o *server.Options) { o.NoSystemAccount = !s.events }))
		if err != nil {
			return err
		}
		s.undo, url = append(s.undo, srv.Close), srv.URL()
	}
	s.bucket = "rolebus-jobs-" + strings.ToLower(rand.Text()[:8])
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := makeBucket(ctx, url, s.bucket)
	var bus *rolebus.Bus
	if err == nil {
		bus, err = rolebus.Connect(ctx, url, rolebus.WithBucket(s.bucket), rolebus.WithObserver())
	}
	if err != nil {
		return fmt.Errorf("%w (without -url a server is started)", err)
	}
	s.undo = append(s.undo, bus.Close)
	if s.url != "" {
		s.undo = append(s.undo, func() error { return removeBucket(bus.Conn(), s.bucket) })
	}
	s.bus, s.url = bus, url
	return nil
}

// makeBucket makes the bucket: who looks on does not, and is there before the first who would.
func makeBucket(ctx context.Context, url, bucket string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	return rolebus.Provision(ctx, nc, rolebus.WithBucket(bucket))
}

func removeBucket(nc *nats.Conn, bucket string) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return js.DeleteKeyValue(ctx, bucket)
}

// start starts a worker's process. If it ends by itself, that is the end of the story.
func (s *story) start(p *place) error {
	c, err := startChild(workerSpec{s.url, s.bucket, p.name})
	if err != nil {
		return err
	}
	leaving := &atomic.Bool{}
	p.child, p.leaving = c, leaving
	go func() { // it ends with the child, which close waits for
		if <-c.ended; !leaving.Load() {
			s.fail(fmt.Errorf("%s ended: %s", p.name, c.end()))
		}
	}()
	return nil
}

// send gives jobs to the dispatcher at a steady rate, however long they take, until ending is over, and returns when all have
// ended. The time of a job is that from when it was due.
func (s *story) send(ctx, ending context.Context) {
	d := dispatcher{bus: s.bus, hedge: s.hedge, owes: map[string]int{}}
	do := d.do
	if !s.retry {
		do = func(ctx context.Context, job Job) (Result, []error, error) {
			n := d.pick(nil)
			if n == nil {
				return Result{}, nil, errors.New("nobody is there")
			}
			a := d.ask(ctx, n, job)
			return a.Result, nil, a.err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.lasts+jobPatience)
	defer cancel()
	var jobs sync.WaitGroup
	defer jobs.Wait()
	first, every := time.Now(), time.Second/time.Duration(s.rate)
	for id := 1; ; id++ {
		due := first.Add(time.Duration(id) * every)
		if !sleep(ending, time.Until(due)) {
			return
		}
		job := Job{ID: id, Text: rand.Text(), Takes: time.Duration(5+mathrand.IntN(16)) * time.Millisecond}
		jobs.Go(func() {
			res, again, err := do(ctx, job)
			if err == nil && (res.Job != job.ID || res.Sum != job.sum()) {
				err = errWrong
			}
			s.report.add(outcome{due, time.Now(), again, err})
			if err != nil && ctx.Err() == nil {
				s.tell("", fmt.Sprintf("job %d is lost: %v", id, err))
			}
		})
	}
}

// watch tells what the dispatcher sees of the workers.
func (s *story) watch(ctx context.Context) {
	known := map[string]bool{}
	for ev := range s.bus.Watch(ctx) {
		switch name := ev.Node.Name(); {
		case ev.Kind == rolebus.NodeLeft:
			s.tell(name, fmt.Sprintf("  gone (%v)%s", ev.Reason, s.report.since(name)))
		case ev.Kind == rolebus.RoleRemoved && ev.Reason == 0:
			s.tell(name, "  gave its role back"+s.report.since(name))
		case ev.Kind == rolebus.RoleAdded && known[name]:
			s.tell(name, "  is at work again")
		case ev.Kind == rolebus.RoleAdded:
			known[name] = true
		}
	}
}

// tell prints one line of the story.
func (s *story) tell(name, what string) {
	done, again, lost := s.report.counts()
	s.telling.Lock()
	defer s.telling.Unlock()
	line := fmt.Sprintf("%5.1f s  %-9s %-41s", time.Since(s.began).Seconds(), name, what)
	line = s.paint(what, line) + fmt.Sprintf("%6d done%4d again", done, again)
	if lost > 0 {
		line += s.paint("lost", fmt.Sprintf("%4d lost", lost))
	}
	if _, err := fmt.Println(line); err != nil {
		s.fail(err) // nobody is reading
	}
}

// paint colors a text by what it is about.
func (s *story) paint(about, text string) string {
	code := map[string]string{string(kill): "31", string(terminate): "33", string(freeze): "36", "SIGCONT": "36", "lost": "1;31", "title": "1"}[about]
	if !s.color || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// close ends the processes, then what they need.
func (s *story) close() error {
	var ending sync.WaitGroup
	errs := make([]error, len(s.places))
	for i, p := range s.places {
		if p.child == nil {
			continue
		}
		p.leaving.Store(true)
		ending.Go(func() { errs[i] = p.child.stop(patience) })
	}
	ending.Wait()
	for _, undo := range slices.Backward(s.undo) {
		errs = append(errs, undo())
	}
	return errors.Join(errs...)
}
