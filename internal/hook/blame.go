package hook

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
)

// Blame tells of a panic in the user's code that was survived, with the stack, which is why it is called by what is deferred. It
// must not be silent: where no log takes it, it goes to where Go tells of a panic.
func Blame(log *slog.Logger, what string, fault any, attrs ...any) {
	stack := string(debug.Stack())
	if log.Enabled(context.Background(), slog.LevelError) {
		log.Error(what, append(attrs, "panic", fault, "stack", stack)...)
		return
	}
	fmt.Fprintf(os.Stderr, "rolebus: %s: %v %v\n\n%s", what, fault, attrs, stack)
}
