package call_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// docs/CALLS.md has a table of the errors of a call, and of what is known with each. Every line of it is made to happen here, and what
// happens here stands in it.
func TestTheGuideSaysWhatIsKnownOfEachError(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/CALLS.md")
	require.NoError(t, err)
	page := string(text)
	guide := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `\\*?(\\w+)` \\| (no|maybe|yes) \\|").FindAllStringSubmatch(page, -1) {
		guide[row[1]+" "+row[2]] = true
	}
	require.Greater(t, len(guide), 10)

	sentinels := map[string]error{
		"ErrNoNode": call.ErrNoNode, "ErrUnreachable": call.ErrUnreachable, "ErrTimeout": call.ErrTimeout, "ErrBusy": call.ErrBusy,
		"ErrDraining": call.ErrDraining, "ErrNoMethod": call.ErrNoMethod, "ErrChoice": call.ErrChoice, "ErrEncode": call.ErrEncode,
		"ErrDecode": call.ErrDecode, "ErrContentType": call.ErrContentType, "ErrTooLarge": call.ErrTooLarge,
	}
	for line, provoke := range provocations {
		t.Run(line, func(t *testing.T) {
			require.True(t, guide[line], "the guide does not have this")
			p := newProvoked(t)
			err := provoke(t, p)
			name, ran, _ := strings.Cut(line, " ")
			var remote *call.RemoteError
			if name == "RemoteError" {
				require.ErrorAs(t, err, &remote)
			} else {
				require.ErrorIs(t, err, sentinels[name])
			}
			for other, sentinel := range sentinels {
				require.True(t, other == name || !errors.Is(err, sentinel), "%v is %s, too", err, other)
			}
			var failed *call.CallError
			require.ErrorAs(t, err, &failed)
			known := call.RanNo
			if n := len(failed.Attempts); n > 0 {
				known = failed.Attempts[n-1].Ran
			}
			require.Equal(t, ran, known.String(), "%v", err)
			require.Equal(t, ran != "no", failed.MayHaveRun())
		})
		delete(guide, line)
	}
	require.Empty(t, guide, "the guide has what never happens")
}

// provoked is a caller, and a worker that handles some methods.
type provoked struct {
	caller, worker *rolebus.Bus
	running        chan struct{} // a call of "hang" has begun
	hang           *call.Endpoint
}

func newProvoked(t *testing.T) *provoked {
	caller, nodes := fleet(t, "w")
	p := &provoked{caller: caller, worker: nodes["w"], running: make(chan struct{}, 10)}
	handle(t, p.worker.Scope, "echo", echo)
	handle(t, p.worker.Scope, "count", func(_ context.Context, in int) (int, error) { return in, nil })
	handle(t, p.worker.Scope, "fail", func(context.Context, string) (string, error) { return "", errors.New("no") })
	handle(t, p.worker.Scope, "chan", func(context.Context, string) (chan int, error) { return nil, nil })
	handle(t, p.worker.Scope, "large", func(context.Context, string) (string, error) { return large, nil })
	p.hang = handle(t, p.worker.Scope, "hang", func(ctx context.Context, _ string) (string, error) {
		p.running <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	}, call.Concurrency(1), call.Queue(0))
	work(t, p.worker, p.caller)
	return p
}

var large = strings.Repeat("x", 2<<20) // than a message may be

// ask calls a method with text.
func (p *provoked) ask(t *testing.T, name string, opts ...call.Option) error {
	_, err := method[string, string](t, p.caller.Scope, "worker", name, opts...).Call(soon(t), "x")
	return err
}

// during has something done while a call of "hang" runs, and returns what became of the call.
func (p *provoked) during(t *testing.T, f func()) error {
	ended := make(chan error, 1)
	go func() { ended <- p.ask(t, "hang", call.Timeout(10*time.Second)) }()
	<-p.running
	f()
	return <-ended
}

var provocations = map[string]func(*testing.T, *provoked) error{
	"RemoteError yes": func(t *testing.T, p *provoked) error { return p.ask(t, "fail") },
	"ErrNoNode no": func(t *testing.T, p *provoked) error {
		_, err := method[string, string](t, p.caller.Scope, "nobody", "echo").Call(soon(t), "x")
		return err
	},
	"ErrUnreachable no": func(t *testing.T, p *provoked) error {
		w := p.caller.Nodes("worker").At(0)
		require.NoError(t, p.worker.Close())
		_, err := method[string, string](t, p.caller.Scope, "worker", "echo").CallNode(soon(t), w, "x")
		return err
	},
	"ErrUnreachable maybe": func(t *testing.T, p *provoked) error {
		return p.during(t, func() { require.NoError(t, p.worker.Close()) })
	},
	"ErrTimeout maybe": func(t *testing.T, p *provoked) error { return p.ask(t, "hang", call.Timeout(50*time.Millisecond)) },
	"ErrBusy no": func(t *testing.T, p *provoked) (err error) {
		_ = p.during(t, func() { err = p.ask(t, "hang"); require.NoError(t, p.worker.Close()) })
		return err
	},
	"ErrDraining no": func(t *testing.T, p *provoked) (err error) {
		_ = p.during(t, func() {
			ctx, cancel := context.WithCancel(soon(t))
			closed := make(chan struct{})
			go func() { defer close(closed); _ = p.hang.Close(ctx) }()
			rolebustest.Eventually(t, "it to drain", func() bool { err = p.ask(t, "hang"); return !errors.Is(err, call.ErrBusy) })
			cancel()
			<-closed
		})
		return err
	},
	"ErrNoMethod no": func(t *testing.T, p *provoked) error { return p.ask(t, "unknown") },
	"ErrChoice no": func(t *testing.T, p *provoked) error {
		return p.ask(t, "echo", call.Choose(func(rolebus.Nodes) *rolebus.Node { return nil }))
	},
	"ErrEncode no": func(t *testing.T, p *provoked) error {
		_, err := method[chan int, string](t, p.caller.Scope, "worker", "echo").Call(soon(t), nil)
		return err
	},
	"ErrEncode yes": func(t *testing.T, p *provoked) error { return p.ask(t, "chan") },
	"ErrDecode no":  func(t *testing.T, p *provoked) error { return p.ask(t, "count") },
	"ErrDecode yes": func(t *testing.T, p *provoked) error {
		_, err := method[string, int](t, p.caller.Scope, "worker", "echo").Call(soon(t), "x")
		return err
	},
	"ErrContentType no": func(t *testing.T, p *provoked) error { return p.ask(t, "echo", call.Encoding(call.Raw)) },
	"ErrContentType yes": func(t *testing.T, p *provoked) error { // of a callee in another language, say
		w := p.worker.Snapshot().Node("w")
		_, err := p.worker.Conn().Subscribe(p.worker.Address("call", w, "foreign"), func(msg *nats.Msg) {
			_ = msg.RespondMsg(&nats.Msg{Header: nats.Header{"Content-Type": {"text/plain"}}, Data: []byte("x")})
		})
		require.NoError(t, err)
		require.NoError(t, p.worker.Conn().Flush())
		return p.ask(t, "foreign")
	},
	"ErrTooLarge no": func(t *testing.T, p *provoked) error {
		_, err := method[string, string](t, p.caller.Scope, "worker", "echo").Call(soon(t), large)
		return err
	},
	"ErrTooLarge yes": func(t *testing.T, p *provoked) error { return p.ask(t, "large") },
}
