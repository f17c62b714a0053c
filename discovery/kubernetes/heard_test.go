package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
)

// heard is what a strategy told.
type heard struct {
	t     testing.TB
	stop  func() error
	mu    sync.Mutex
	list  []discovery.Address // the last whole one
	lists int
	fails []error
}

// follow follows a strategy until the test ends, or stop is called.
func follow(t testing.TB, s discovery.Strategy) *heard {
	t.Helper()
	h := &heard{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Discover(ctx, func(list []discovery.Address, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if err != nil {
				h.fails = append(h.fails, err)
				return
			}
			h.list = slices.Clone(list)
			h.lists++
		})
	}()
	h.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Second):
			return errors.New("it has not ended within a second")
		}
	})
	t.Cleanup(func() {
		require.ErrorIs(t, h.stop(), context.Canceled)
	})
	return h
}

// hosts waits until exactly these are listed, as host:port.
func (h *heard) hosts(want ...string) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("addresses %v", want), func() bool {
		return slices.Equal(sorted(want), h.now())
	}, func() string { return fmt.Sprint(h.now(), h.last()) })
}

func (h *heard) now() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, a := range h.list {
		all = append(all, a.HostPort())
	}
	return sorted(all)
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// failure waits for one of the reason whose text has all the parts, after so many others.
func (h *heard) failure(reason discovery.Reason, parts ...string) *discovery.Failure {
	h.t.Helper()
	var f *discovery.Failure
	eventually(h.t, fmt.Sprintf("a failure %q of %v", reason, parts), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, err := range h.fails {
			if discovery.ReasonOf(err) == reason && errors.As(err, &f) && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(err.Error(), p) }) {
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprint(h.last()) })
	return f
}

func (h *heard) failures() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, err := range h.fails {
		all = append(all, fmt.Sprintf("\n%s: %v", discovery.ReasonOf(err), err))
	}
	return all
}

// last is the end of what failed.
func (h *heard) last() []string {
	all := h.failures()
	return all[max(0, len(all)-5):]
}

// forget forgets what failed until now.
func (h *heard) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails = nil
}

func (h *heard) listed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lists
}

// eventually waits for a condition, and tells what there is if it does not come.
func eventually(t testing.TB, what string, is func() bool, instead ...func() string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			text := ""
			for _, each := range instead {
				text += each()
			}
			t.Fatalf("there is not, in the end: %s; but: %s", what, text)
		}
	}
}

func contains(texts []string, part string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, part) })
}

var itoa = strconv.Itoa

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func (l *logged) option() kubernetes.Option {
	return kubernetes.Discovery(discovery.WithLogger(slog.New(slog.NewTextHandler(l, nil))))
}
