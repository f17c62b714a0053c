package process_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

func TestMain(m *testing.M) {
	process.Main(map[string]process.Part{
		"echo": func(_ context.Context, p *process.Process) error {
			p.Obey(p.Config.Node, func(o process.Order) (process.Report, error) {
				if o.Do == "fail" {
					return process.Report{}, errors.New("as asked")
				}
				for n := range o.N {
					p.Say(process.Report{Kind: process.Event, N: n})
				}
				return process.Report{N: o.N}, nil
			})
			return nil
		},
		"broken": func(context.Context, *process.Process) error { return errors.New("does not start") },
		"deaf": func(ctx context.Context, p *process.Process) error {
			p.Say(process.Report{Kind: process.Ready})
			<-p.Orders
			<-ctx.Done() // never answers, but ends when its input does
			return nil
		},
	})
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, part string) *process.Child {
	t.Helper()
	c, ready, err := process.Start(t.Context(), process.Config{Part: part, Node: "hello"})
	require.NoError(t, err)
	if part == "echo" {
		require.Equal(t, process.Report{Kind: process.Ready, Text: "hello"}, ready)
	}
	return c
}

func TestOrdersAreAnsweredAndEventsKept(t *testing.T) {
	c := start(t, "echo")
	r, err := c.Do(t.Context(), process.Order{Do: "count", N: 3})
	require.NoError(t, err)
	require.Equal(t, 3, r.N)
	for n := range 3 {
		r, err := c.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, n, r.N)
	}
	_, err = c.Do(t.Context(), process.Order{Do: "fail"})
	require.ErrorContains(t, err, "as asked")
	require.NoError(t, c.Close())
}

func TestPartThatDoesNotStart(t *testing.T) {
	_, _, err := process.Start(t.Context(), process.Config{Part: "broken"})
	require.ErrorContains(t, err, "does not start")
	_, _, err = process.Start(t.Context(), process.Config{Part: "unheard of"})
	require.ErrorContains(t, err, `part "unheard of" is not known`)
}

func TestKilledChild(t *testing.T) {
	c := start(t, "echo")
	require.NoError(t, c.Kill())
	_, err := c.Next(t.Context())
	require.ErrorContains(t, err, "has ended")
	require.NoError(t, c.Close(), "it was wanted")
}

func TestContextEndsTheWait(t *testing.T) {
	c := start(t, "deaf")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Do(ctx, process.Order{Do: "anything"})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, c.Close())
}
