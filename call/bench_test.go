package call_test

import (
	"context"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const inputSize = 128

// byRole is a call of the process that answers with what it gets, and plainly a plain request to it.
func byRole(tb testing.TB, bus *rolebus.Bus) func() error {
	echo := method[[]byte, []byte](tb, bus.Scope, "echo", "raw", call.Encoding(call.Raw))
	input := make([]byte, inputSize)
	return func() error {
		_, err := echo.Call(context.Background(), input)
		return err
	}
}

func plainly(bus *rolebus.Bus) func() error {
	nc := bus.Conn()
	input := make([]byte, inputSize)
	return func() error {
		_, err := nc.Request(plainSubject, input, 20*time.Second)
		return err
	}
}

// BenchmarkCall is a call by role to another process, and BenchmarkRequest a plain request to the same one. To compare them, see
// bench/peers: here one comes after the other.
func BenchmarkCall(b *testing.B)    { measure(b, byRole(b, echoFleet(b))) }
func BenchmarkRequest(b *testing.B) { measure(b, plainly(echoFleet(b))) }

func measure(b *testing.B, ask func() error) {
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := ask(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 at once", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := ask(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func TestACallAllocatesLittleMoreThanARequest(t *testing.T) {
	bus := echoFleet(t)
	of := func(ask func() error) float64 {
		return testing.AllocsPerRun(2000, func() {
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
	}
	plain := of(plainly(bus))
	require.Positive(t, plain)
	assert.LessOrEqual(t, of(byRole(t, bus)), plain+5)
}
