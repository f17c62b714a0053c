package main

import (
	"context"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
)

// What a caller knows.
const (
	echoRole   = rolebus.Role("echo")
	echoMethod = "echo"
)

func answerRolebus(ctx context.Context, bus *rolebus.Bus) error {
	echo := func(_ context.Context, input []byte) ([]byte, error) { return input, nil }
	if _, err := call.Handle(bus.Scope, echoMethod, echo, call.Encoding(call.Raw)); err != nil {
		return err
	}
	return bus.AddRoles(ctx, echoRole)
}

func callRolebus(bus *rolebus.Bus) (callFunc, error) {
	m, err := call.New[[]byte, []byte](bus.Scope, echoRole, echoMethod, call.Encoding(call.Raw))
	if err != nil {
		return nil, err
	}
	return m.Call, nil
}
