package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// callFunc calls the other process once and returns its answer.
type callFunc func(ctx context.Context, input []byte) ([]byte, error)

// playCallee answers calls with their input, in all ways at once, and tells what it has allocated so far.
func playCallee(ctx context.Context, p *process.Process) error {
	bus, err := rolebus.Connect(ctx, p.Config.URL, rolebus.WithNode("callee"))
	if err != nil {
		return err
	}
	defer bus.Close()
	if err := errors.Join(answerNATS(bus.Conn()), answerRolebus(ctx, bus)); err != nil {
		return err
	}
	server, err := answerGRPC()
	if err != nil {
		return err
	}
	p.Obey(server.address, func(process.Order) (process.Report, error) {
		return process.Report{Values: map[string]float64{"allocs": float64(allocated())}}, nil
	})
	return server.close()
}

// playCaller calls in the way that each order names, with as many goroutines, for so long.
func playCaller(ctx context.Context, p *process.Process) error {
	bus, err := rolebus.Connect(ctx, p.Config.URL, rolebus.WithNode("caller"))
	if err != nil {
		return err
	}
	defer bus.Close()
	conn, err := dialGRPC(p.Config.Address)
	if err != nil {
		return err
	}
	byRole, err := callRolebus(bus)
	if err != nil {
		return err
	}
	ways := map[string]callFunc{
		"rolebus":    byRole,
		"serial":     callSubject(bus.Conn(), serialSubject),
		"concurrent": callSubject(bus.Conn(), concurrentSubject),
		"micro":      callSubject(bus.Conn(), microSubject),
		"grpc":       callGRPC(conn),
	}
	input := bytes.Repeat([]byte{'x'}, p.Config.Count)
	for how, call := range ways {
		if output, err := call(ctx, input); err != nil {
			return fmt.Errorf("%s: %w", how, err)
		} else if !bytes.Equal(output, input) {
			return fmt.Errorf("%s: the answer is not what was sent", how)
		}
	}
	p.Obey("", func(o process.Order) (process.Report, error) {
		runtime.GC() // what others left is not this one's to clear
		if o.N == 1 {
			return callAlone(ctx, ways[o.Do], input, o.Time)
		}
		return callTogether(ctx, ways[o.Do], input, o.N, o.Time)
	})
	return conn.Close()
}

// callAlone tells how long each call took, and how much all allocated.
func callAlone(ctx context.Context, call callFunc, input []byte, long time.Duration) (process.Report, error) {
	took := make([]time.Duration, 0, 1<<14)
	before, began := allocated(), time.Now()
	for now := began; now.Sub(began) < long && len(took) < cap(took); {
		if _, err := call(ctx, input); err != nil {
			return process.Report{}, err
		}
		from := now
		now = time.Now()
		took = append(took, now.Sub(from))
	}
	return process.Report{Took: took, Values: map[string]float64{"allocs": float64(allocated() - before)}}, nil
}

// callTogether tells how many calls were answered, and in what time.
func callTogether(ctx context.Context, call callFunc, input []byte, callers int, long time.Duration) (process.Report, error) {
	var calls atomic.Int64
	errs := make([]error, callers)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			done := int64(0)
			for ; errs[i] == nil && time.Since(began) < long; done++ {
				_, errs[i] = call(ctx, input)
			}
			calls.Add(done)
		})
	}
	wg.Wait()
	seconds := time.Since(began).Seconds()
	return process.Report{Values: map[string]float64{"calls": float64(calls.Load()), "seconds": seconds}}, errors.Join(errs...)
}

// allocated is how many objects this process has allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
