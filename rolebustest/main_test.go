package rolebustest_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/rolebus/rolebus/internal/atonce"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	atonce.Tests(12, 6)
	goleak.VerifyTestMain(m)
}

// standIn is a testing.TB outside a test: for examples, and to see a test fail.
type standIn struct {
	testing.TB // nil; what is not below is not used

	ctx     context.Context
	cancel  context.CancelFunc
	cleanup []func()
	dirs    []string
	failed  string
	logged  []string
}

func newStandIn() *standIn {
	t := &standIn{}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

func (t *standIn) Helper()                  {}
func (t *standIn) Cleanup(f func())         { t.cleanup = append(t.cleanup, f) }
func (t *standIn) Context() context.Context { return t.ctx }

func (t *standIn) TempDir() string {
	dir, err := os.MkdirTemp("", "rolebustest-")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { t.dirs = append(t.dirs, dir); _ = os.RemoveAll(dir) })
	return dir
}

func (t *standIn) Logf(format string, args ...any) {
	t.logged = append(t.logged, fmt.Sprintf(format, args...))
}

func (t *standIn) Errorf(format string, args ...any) { t.failed = fmt.Sprintf(format, args...) }

func (t *standIn) Fatalf(format string, args ...any) {
	t.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// end is the end of the test.
func (t *standIn) end() {
	t.cancel()
	for i := len(t.cleanup) - 1; i >= 0; i-- {
		t.cleanup[i]()
	}
	t.cleanup = nil
}

// failure runs f as a test and returns why it failed, "" if it did not.
func failure(f func(t *standIn)) string {
	t := newStandIn()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.end()
		f(t)
	}()
	<-done
	return t.failed
}
