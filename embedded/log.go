package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
)

// serverLog is nats-server's logger. It is also the only place where the server says why it could not start: it calls
// Fatalf, whose usual implementation ends the process, and carries on when that returns. So Fatalf must return, and must
// not call the server back, which may hold its locks; whoever starts the server reads fatal and stops it. A server that
// runs already runs on, with an error in the log.
type serverLog struct {
	to    *slog.Logger
	fatal chan error // holds the first one
}

func newServerLog(to *slog.Logger) *serverLog {
	return &serverLog{to: to, fatal: make(chan error, 1)}
}

func (l *serverLog) Noticef(format string, args ...any) { l.log(slog.LevelInfo, format, args) }
func (l *serverLog) Warnf(format string, args ...any)   { l.log(slog.LevelWarn, format, args) }
func (l *serverLog) Errorf(format string, args ...any)  { l.log(slog.LevelError, format, args) }
func (l *serverLog) Debugf(format string, args ...any)  { l.log(slog.LevelDebug, format, args) }
func (l *serverLog) Tracef(format string, args ...any)  { l.log(slog.LevelDebug, format, args) }

func (l *serverLog) Fatalf(format string, args ...any) {
	select {
	case l.fatal <- fatalError(format, args):
	default: // later ones follow from the first
	}
	l.log(slog.LevelError, format, args)
}

func (l *serverLog) debugs() bool { return l.to.Enabled(context.Background(), slog.LevelDebug) }

func (l *serverLog) log(level slog.Level, format string, args []any) {
	ctx := context.Background()
	if l.to.Enabled(ctx, level) {
		l.to.Log(ctx, level, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

// fatalError is the server's own words, except about an address that it cannot listen on: there the cause is among the
// arguments, and says it better.
func fatalError(format string, args []any) error {
	for _, arg := range args {
		err, _ := arg.(error)
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "listen" {
			return fmt.Errorf("%w: free it, or choose another by WithHost or WithPort (port 0 is any free one)", err)
		}
	}
	return fmt.Errorf("nats-server: "+format, args...)
}
