package rolebustest

import (
	"fmt"
	"strings"
	"sync"
)

// serverLog keeps the last complaints of a nats-server, for the text of a failure. It is also the only place where the
// server says why it could not start: it calls Fatalf and carries on when that returns.
type serverLog struct {
	mu    sync.Mutex
	lines []string
	fatal error
}

const logLines = 20

func (l *serverLog) Noticef(string, ...any)            {}
func (l *serverLog) Debugf(string, ...any)             {}
func (l *serverLog) Tracef(string, ...any)             {}
func (l *serverLog) Warnf(format string, args ...any)  { l.add("warning: "+format, args) }
func (l *serverLog) Errorf(format string, args ...any) { l.add("error: "+format, args) }
func (l *serverLog) Fatalf(format string, args ...any) {
	l.add("fatal: "+format, args)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal != nil {
		return // later ones follow from the first
	}
	l.fatal = fmt.Errorf(format, args...)
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			l.fatal = err // says the same, and can be matched
		}
	}
}

func (l *serverLog) add(format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == logLines {
		l.lines = append(l.lines[:0], l.lines[1:]...)
	}
	l.lines = append(l.lines, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (l *serverLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}
