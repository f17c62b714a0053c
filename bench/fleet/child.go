package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// The kinds of processes.
const (
	kindServer = "server" // a nats-server
	kindBuses  = "buses"  // buses, one or many
	kindLoader = "loader" // a client that writes the records of many nodes
)

// duty is how a child obeys an order.
type duty func(ctx context.Context, with json.RawMessage) (any, error)

// doing makes a duty of a function with types of its own.
func doing[A, R any](f func(context.Context, A) (R, error)) duty {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var with A
		if err := json.Unmarshal(raw, &with); err != nil {
			return nil, err
		}
		return f(ctx, with)
	}
}

// none is an order or an answer without anything in it.
type none struct{}

// childMain is a child's whole life: it obeys one order after another until there are no more.
func childMain(kind string) int {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole group; the program says when to end
	var duties map[string]duty
	over := func() {}
	switch kind {
	case kindServer:
		s := &natsServer{}
		duties, over = s.duties(), s.stop
	case kindBuses:
		duties = (&buses{}).duties()
	case kindLoader:
		duties = (&loader{}).duties()
	default:
		fmt.Fprintf(os.Stderr, "fleet: %s=%q: this variable is for the program's own children: unset it\n", kindOfProcess, kind)
		return 2
	}
	duties[doUsage] = doing(measureUsage)
	defer over()
	if err := obey(duties, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "fleet: %s: %v\n", kind, err)
		return 1
	}
	return 0
}

// obey obeys orders until they end. An order that is under way then is given up.
func obey(duties map[string]duty, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	orders := make(chan order)
	go func() {
		for dec := json.NewDecoder(in); ; {
			var o order
			if err := dec.Decode(&o); err != nil {
				cancel(errors.New("the orders have ended"))
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	enc := json.NewEncoder(out)
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-orders:
			a := carryOut(ctx, duties, o)
			if ctx.Err() != nil {
				return nil // nobody listens
			}
			if err := enc.Encode(a); err != nil {
				return err
			}
		}
	}
}

func carryOut(ctx context.Context, duties map[string]duty, o order) answer {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Within, fmt.Errorf("not done in %v: give it longer with -timeout", o.Within))
	defer cancel()
	d := duties[o.Do]
	if d == nil {
		return answer{Error: fmt.Sprintf("unknown order %q", o.Do)}
	}
	value, err := d(ctx, o.With)
	if err == nil {
		var raw json.RawMessage
		if raw, err = json.Marshal(value); err == nil {
			return answer{Value: raw}
		}
	}
	return answer{Error: err.Error()}
}

const poll = time.Millisecond

// until waits until something is so.
func until(ctx context.Context, so func() bool) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// hold is for how long a child keeps what it saw to itself: telling at once would slow those who have not seen it yet.
const hold = 10 * time.Millisecond

// held waits until the others have most likely seen it, too.
func held(ctx context.Context) {
	select {
	case <-time.After(hold):
	case <-ctx.Done():
	}
}
