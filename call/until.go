package call

import (
	"context"

	"github.com/rolebus/rolebus"
)

// Until the root has Scope.Probe and Scope.OnLeave.

func probe(ctx context.Context, s *rolebus.Scope, n *rolebus.Node) error {
	ctx, cancel := s.While(ctx, n)
	defer cancel()
	return context.Cause(ctx)
}

func onLeave(s *rolebus.Scope, f func(context.Context)) func() bool { return s.Bus().OnShutdown(f) }
