package protobuf_test

import (
	"context"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/call/protobuf"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestMessagesGoBothWays(t *testing.T) {
	server := rolebustest.NewServer(t)
	worker, caller := server.Bus(rolebus.WithNode("worker")), server.Bus(rolebus.WithNode("caller"))
	_, err := call.Handle(worker.Scope, "double", func(_ context.Context, in *durationpb.Duration) (*wrapperspb.StringValue, error) {
		if in.GetSeconds() == 0 {
			return nil, nil
		}
		return wrapperspb.String((2 * in.AsDuration()).String()), nil
	}, call.Encoding(protobuf.Codec))
	require.NoError(t, err)
	require.NoError(t, worker.AddRoles(t.Context(), "worker"))
	rolebustest.WaitNodes(t, caller, "worker", 1)

	double := call.Func[*durationpb.Duration, *wrapperspb.StringValue](caller.Scope, "worker", "double", call.Encoding(protobuf.Codec))
	out, err := double(t.Context(), durationpb.New(time.Second))
	require.NoError(t, err)
	assert.Equal(t, "2s", out.GetValue())

	_, err = double(t.Context(), nil)
	require.ErrorIs(t, err, call.ErrEncode) // here
	_, err = double(t.Context(), durationpb.New(0))
	require.ErrorIs(t, err, call.ErrEncode) // over there
	_, err = call.Func[int, *wrapperspb.StringValue](caller.Scope, "worker", "double", call.Encoding(protobuf.Codec))(t.Context(), 1)
	require.ErrorIs(t, err, call.ErrEncode)
	_, err = call.Func[*durationpb.Duration, int](caller.Scope, "worker", "double", call.Encoding(protobuf.Codec))(t.Context(), durationpb.New(time.Second))
	require.ErrorIs(t, err, call.ErrDecode)
	_, err = call.Func[string, string](caller.Scope, "worker", "double")(t.Context(), "1s")
	require.ErrorIs(t, err, call.ErrContentType)
}
