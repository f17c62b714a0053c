package call

import (
	"context"

	"github.com/rolebus/rolebus"
)

// Until the root has Scope.OnLeave.

func onLeave(s *rolebus.Scope, f func(context.Context)) func() bool { return s.Bus().OnShutdown(f) }
