package calls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// stranger is who may publish where calls and answers go, and does.
type stranger struct {
	nc      *nats.Conn
	rng     *rand.Rand
	subject string // of a method
}

var (
	strangeHeaders = []string{
		"Content-Type", "content-type", "Rolebus-Call", "Rolebus-Timeout", "Nats-Service-Error", "Nats-Service-Error-Code",
		"Status", "Description", "Nats-Msg-Id", "X", "Nats-Expected-Stream", "traceparent",
	}
	strangeValues = []string{
		"", " ", "0", "-1", "1", "5000", "9223372036854775807", "18446744073709551616", "-9223372036854775808", "1e9", "NaN", "0x10", "1ms",
		"application/json", "application/protobuf", "text/html; charset=\"", ";;;", "cancel", "failed", "busy", "draining", "decode",
		"content-type", "encode", "too-large", "timeout", "canceled", "alive", "503", "404", "\x00", "\xff\xfe", "ä\u202e",
	}
	strangeBodies = [][]byte{
		nil, []byte("{}"), []byte("null"), []byte("[]"), []byte(`{"ID":-1}`), []byte(`{"ID":"x"}`), []byte(`{"ID":1}`), []byte("{"), {0, 0xff},
	}
	largeBodies = [][]byte{bytes.Repeat([]byte("["), 100_000), []byte(strings.Repeat("9", 100_000))}
	largeValue  = strings.Repeat("x", 60_000)
)

func (s *stranger) message(subject, reply string) *nats.Msg {
	msg := &nats.Msg{Subject: subject, Reply: reply, Data: strangeBodies[s.rng.IntN(len(strangeBodies))]}
	for range s.rng.IntN(4) {
		if msg.Header == nil {
			msg.Header = nats.Header{}
		}
		key := strangeHeaders[s.rng.IntN(len(strangeHeaders))]
		msg.Header[key] = append(msg.Header[key], strangeValues[s.rng.IntN(len(strangeValues))])
		if s.rng.IntN(100) == 0 {
			msg.Header[key] = append(msg.Header[key], largeValue)
		}
	}
	if s.rng.IntN(100) == 0 {
		msg.Data = largeBodies[s.rng.IntN(len(largeBodies))]
	}
	return msg
}

// requests sends garbage to the method, from many reply subjects, and some that would turn an answer into something else.
func (s *stranger) requests(t *testing.T, n int) {
	for i := range n {
		reply := []string{
			fmt.Sprint("stranger.", s.rng.Uint64()), "", s.subject, strings.Replace(s.subject, ".work", ".other", 1),
			"$SRV.PING", "$JS.API.STREAM.DELETE.KV_rolebus", "$KV.rolebus.default.n1", "rolebus.probe.default.n1", "nobody.listens",
		}[s.rng.IntN(9)]
		msg := s.message(s.subject, reply)
		if i%8 == 0 { // what is refused first hides what is behind it
			msg.Header = nats.Header{"Rolebus-Call": {"cancel"}}
			msg.Data = []byte(fmt.Sprint("stranger.", s.rng.Uint64()))
		}
		require.NoError(t, s.nc.PublishMsg(msg))
		if i%64 == 0 {
			require.NoError(t, s.nc.Flush())
		}
	}
	require.NoError(t, s.nc.Flush())
}

// answers sends garbage to where a caller's answers come, as an answer to nobody's call.
func (s *stranger) answers(t *testing.T, inbox string, n int) {
	for i := range n {
		token := []string{fmt.Sprint(s.rng.Uint64()), "alive", "0", "x"}[s.rng.IntN(4)]
		require.NoError(t, s.nc.PublishMsg(s.message(inbox+token, "stranger.x")))
		if i%64 == 0 {
			require.NoError(t, s.nc.Flush())
		}
	}
	require.NoError(t, s.nc.Flush())
}

// inbox finds out, from what a caller sends, where its answers come.
func inbox(t *testing.T, nc *nats.Conn, ask func()) string {
	t.Helper()
	sub, err := nc.SubscribeSync("_INBOX.>")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	ask()
	for {
		msg, err := sub.NextMsg(patience)
		require.NoError(t, err)
		if at := strings.LastIndex(msg.Subject, ".call."); at >= 0 {
			require.NoError(t, sub.Unsubscribe())
			return msg.Subject[:at+len(".call.")]
		}
	}
}

// logs counts lines.
type logs struct {
	mu    sync.Mutex
	lines int
	bytes int
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines++
	l.bytes += len(b)
	return len(b), nil
}

func (l *logs) size() (lines, size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines, l.bytes
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what has a finalizer goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Whatever is sent to handlers and to callers, nothing panics or grows, the logs are not filled, the bucket is what it was, and calls work
// before, meanwhile and after.
func TestGarbageHarmsNobody(t *testing.T) {
	srv := rolebustest.NewServer(t)
	var said logs
	logger := rolebus.WithLogger(slog.New(slog.NewTextHandler(&said, nil)))
	node, caller := srv.Bus(rolebus.WithNode("n1"), logger), srv.Bus(rolebus.WithNode("c1"), logger)
	for _, method := range []string{"work", "other"} {
		_, err := call.Handle(node.Scope, method, func(_ context.Context, j job) (done, error) { return done{ID: j.ID, Node: "n1"}, nil })
		require.NoError(t, err)
	}
	require.NoError(t, node.AddRoles(t.Context(), "worker"))
	rolebustest.WaitNodes(t, caller, "worker", 1)
	m, err := call.New[job, done](caller.Scope, "worker", "work", call.Timeout(patience))
	require.NoError(t, err)
	ask := func() {
		answer, err := m.Call(context.Background(), job{7})
		require.NoError(t, err)
		require.Equal(t, done{ID: 7, Node: "n1"}, answer)
	}
	s := &stranger{nc: srv.Conn(), rng: rand.New(rand.NewPCG(1, 1))}
	s.subject = caller.Address("call", caller.Nodes("worker").At(0), "work")
	to := inbox(t, s.nc, ask)
	generation := caller.Snapshot().Generation()

	const messages = 2000
	round := func() (grown uint64, goroutines int) {
		s.requests(t, messages)
		s.answers(t, to, messages)
		for range 50 { // behind all of it, in both
			ask()
		}
		return heap(), runtime.NumGoroutine()
	}
	round() // warm
	before, running := round()
	_, filled := said.size()
	for range 3 {
		round()
	}
	rolebustest.Within(t, patience, "what is left of it to end", func() bool {
		now := heap()
		return now < before+1<<20 && runtime.NumGoroutine() <= running+2
	})
	lines, size := said.size()
	require.Less(t, size-filled, 1<<20, "what is logged: %d lines", lines)
	require.NoError(t, errors.Join(node.Err(), caller.Err(), node.Check(), caller.Check()))
	require.Equal(t, generation, caller.Snapshot().Generation())
	ask()
}

// A node that answers garbage, in the place of an honest one, is told by named errors; the caller lives on.
func TestGarbageThatIsAnAnswerIsANamedError(t *testing.T) {
	srv := rolebustest.NewServer(t)
	node, caller := srv.Bus(rolebus.WithNode("n1"), rolebus.WithRoles("worker")), srv.Bus()
	rolebustest.WaitNodes(t, caller, "worker", 1)
	s := &stranger{nc: srv.Conn(), rng: rand.New(rand.NewPCG(2, 2))}
	subject := caller.Address("call", caller.Nodes("worker").At(0), "work")
	_, err := s.nc.Subscribe(subject, func(msg *nats.Msg) {
		if msg.Reply == "" {
			return
		}
		if answer := s.message(msg.Reply, "x"); answer.Header.Get("Status") == "" {
			_ = s.nc.PublishMsg(answer)
			_ = s.nc.PublishMsg(s.message(msg.Reply, "")) // a second one: nobody waits for it
		} else {
			_ = s.nc.PublishMsg(answer)
		}
	})
	require.NoError(t, err)
	require.NoError(t, s.nc.Flush())
	m, err := call.New[job, done](caller.Scope, "worker", "work", call.Timeout(5*time.Second))
	require.NoError(t, err)
	names := append([]error{call.ErrDecode, call.ErrEncode, call.ErrContentType, call.ErrTooLarge, call.ErrNoMethod}, known...)
	for range 2000 {
		_, err := m.Call(t.Context(), job{7})
		var remote *call.RemoteError
		if err == nil || errors.As(err, &remote) {
			continue
		}
		named := false
		for _, name := range names {
			named = named || errors.Is(err, name)
		}
		require.True(t, named, "%v", err)
		require.Less(t, len(err.Error()), 70_000, "an error of any length is no use")
	}
	require.NoError(t, errors.Join(node.Err(), caller.Err()))
}
