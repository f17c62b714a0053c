package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolebus/rolebus/internal/certs"
)

// serverLog is nats-server's logger. It is also the only place where the server says why it could not start: it calls
// Fatalf, whose usual implementation ends the process, and carries on when that returns. So Fatalf must return, and must
// not call the server back, which may hold its locks; whoever starts the server reads fatal and stops it. A server that
// runs already runs on, with an error in the log.
//
// No secret reaches the logger, and what the server says without end is limited, except for what is fatal, and for the messages of Debug and
// Trace, of which who wants them wants all.
type serverLog struct {
	to    *slog.Logger
	fatal chan error // holds the first one
	quiet bool       // it says itself what happens who runs the server, so each line is a level less, and what is for Debug is for nobody

	mu    sync.Mutex
	hide  *secrets
	known []string // what hide was made for, last
	limit limit
}

func newServerLog(to *slog.Logger) *serverLog {
	return &serverLog{to: to, fatal: make(chan error, 1), hide: &secrets{}}
}

// conceal says which texts the logger must not get from now on, beside what has the form of a secret. Those of the call before stay hidden, too:
// a reload tells of routes with a password that has just been replaced. It may be called at any time.
func (l *serverLog) conceal(texts []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hide = newSecrets(append(l.known, texts...))
	l.known = slices.Clone(texts)
}

// redact is a text of the server, or about it, without secrets.
func (l *serverLog) redact(text string) string {
	l.mu.Lock()
	hide := l.hide
	l.mu.Unlock()
	return hide.redact(text)
}

// clean is err, or, if its text has a secret, one with the text without it, and without what it wraps, which still has it. Nil stays nil.
func (l *serverLog) clean(err error) error {
	if err == nil {
		return nil
	}
	if text := l.redact(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// end logs what is still held back. The server must have stopped.
func (l *serverLog) end() {
	l.mu.Lock()
	lines := l.limit.rest(time.Now())
	l.mu.Unlock()
	l.tell(lines)
}

func (l *serverLog) Noticef(format string, args ...any) { l.limited(slog.LevelInfo, format, args) }
func (l *serverLog) Warnf(format string, args ...any) {
	if l.quiet && format == certs.RoutesWarning {
		return // it is not so
	}
	l.limited(slog.LevelWarn, format, args)
}
func (l *serverLog) Errorf(format string, args ...any) { l.limited(slog.LevelError, format, args) }
func (l *serverLog) Debugf(format string, args ...any) { l.log(slog.LevelDebug, format, args) }
func (l *serverLog) Tracef(format string, args ...any) { l.log(slog.LevelDebug, format, args) }

func (l *serverLog) Fatalf(format string, args ...any) {
	select {
	case l.fatal <- l.fatalError(format, args):
	default: // later ones follow from the first
	}
	l.log(slog.LevelError, format, args)
}

func (l *serverLog) debugs() bool {
	return !l.quiet && l.to.Enabled(context.Background(), slog.LevelDebug)
}

func (l *serverLog) log(level slog.Level, format string, args []any) {
	if l.to.Enabled(context.Background(), level) {
		l.tell([]line{{level, l.text(format, args)}})
	}
}

func (l *serverLog) limited(level slog.Level, format string, args []any) {
	if l.quiet {
		level -= slog.LevelInfo - slog.LevelDebug
	}
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	text := l.text(format, args)
	l.mu.Lock()
	lines := l.limit.take(time.Now(), level, format, text)
	l.mu.Unlock()
	l.tell(lines)
}

func (l *serverLog) text(format string, args []any) string {
	return l.redact(strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// tell calls the program's handler, and so holds no lock.
func (l *serverLog) tell(lines []line) {
	for _, one := range lines {
		l.to.Log(context.Background(), one.level, one.text)
	}
}

// fatalError is the server's own words, except about an address that it cannot listen on: there the cause is among the
// arguments, and says it better.
func (l *serverLog) fatalError(format string, args []any) error {
	for _, arg := range args {
		err, _ := arg.(error)
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "listen" {
			return fmt.Errorf("%w: free it, or choose another by WithHost or WithPort (port 0 is any free one)", err)
		}
	}
	return l.clean(fmt.Errorf("nats-server: "+format, args...))
}
