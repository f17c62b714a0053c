package discovery_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/replaced"
	"github.com/rolebus/rolebus/rolebustest"
)

// lines is a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// count is how many lines have it.
func (l *lines) count(part string) (n int) {
	for line := range strings.Lines(l.text()) {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func (l *lines) option() rolebus.Option {
	return rolebus.WithLogger(slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	rolebustest.Within(t, time.Minute, what, cond)
}

// addressOf is where a server or a link listens.
func addressOf(t *testing.T, at interface{ URL() string }) rolebus.Address {
	t.Helper()
	a, err := rolebus.ParseAddress(at.URL())
	require.NoError(t, err)
	a.Scheme = ""
	return a
}

func has(b *rolebus.Bus, a rolebus.Address) func() bool {
	return func() bool { return strings.Contains(strings.Join(replaced.Pool(b), " ")+" ", a.HostPort()+" ") }
}

func lacks(b *rolebus.Bus, a rolebus.Address) func() bool {
	return func() bool { return !has(b, a)() }
}

func isAt(b *rolebus.Bus, a rolebus.Address) func() bool {
	return func() bool { return b.Connected() && b.Conn().ConnectedAddr() == a.HostPort() }
}
