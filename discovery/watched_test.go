package discovery_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/found"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// watched is a strategy that is followed until the test ends.
type watched struct {
	t    *testing.T
	stop func()

	mu    sync.Mutex
	kept  found.Kept[discovery.Address]
	seen  []string // all that ever stood
	errs  []error
	log   bytes.Buffer
	asked int
}

// watch follows a strategy, which is made with the options that let its log and lookups be seen.
func watch(t *testing.T, with func(seen ...discovery.Option) discovery.Strategy) *watched {
	w := &watched{t: t}
	s := with(discovery.WithLogger(slog.New(slog.NewTextHandler(w, nil))))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := s.Discover(ctx, w.take)
		assert.ErrorIs(t, err, context.Canceled)
	}()
	w.stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Error("it does not end with its context")
		}
	}
	t.Cleanup(w.stop)
	return w
}

func (w *watched) take(list []discovery.Address, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if err != nil {
		w.errs = append(w.errs, err)
	}
	if list == nil {
		return
	}
	w.kept.Take(list, err)
	for _, text := range w.texts() {
		if !slices.Contains(w.seen, text) {
			w.seen = append(w.seen, text)
		}
	}
}

func (w *watched) texts() []string {
	all := []string{}
	for _, a := range w.kept.List() {
		all = append(all, strings.TrimPrefix(a.String(), "nats://"))
	}
	slices.Sort(all)
	return all
}

// Write takes the log.
func (w *watched) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

// stands requires what stands now, as "host:port host:port".
func (w *watched) stands(want string) {
	w.t.Helper()
	require.Equal(w.t, strings.Fields(want), w.now())
}

func (w *watched) now() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.texts()
}

// ever returns all that ever stood.
func (w *watched) ever() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// eventually waits until that stands.
func (w *watched) eventually(want string) {
	w.t.Helper()
	w.until(func() bool { return slices.Equal(strings.Fields(want), w.now()) }, "%s, and not %v", want, w.now)
}

func (w *watched) until(is func() bool, format string, args ...any) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			for i := range args {
				if f, ok := args[i].(func() []string); ok {
					args[i] = f()
				}
			}
			require.Failf(w.t, "waited in vain", format+"; it said %q", append(args, w.warnings())...)
		}
	}
}

// warnings returns the warnings in its log.
func (w *watched) warnings() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "level=WARN") {
			all = append(all, line)
		}
	}
	return all
}

// warned requires that exactly this was told, once: each text in a warning of its own.
func (w *watched) warned(texts ...string) {
	w.t.Helper()
	warnings := w.warnings()
	require.Len(w.t, warnings, len(texts), "%q", warnings)
	for i, text := range texts {
		require.Contains(w.t, warnings[i], text)
	}
}

// failed waits until it has failed with that reason, and returns the error.
func (w *watched) failed(reason discovery.Reason) (failure error) {
	w.t.Helper()
	w.until(func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		i := slices.IndexFunc(w.errs, func(err error) bool { return discovery.ReasonOf(err) == reason })
		if i >= 0 {
			failure = w.errs[i]
		}
		return i >= 0
	}, "no failure with reason %q", reason)
	return failure
}

// looks is how often it has told something.
func (w *watched) looks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}
