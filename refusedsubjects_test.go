package rolebus

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Several refusals at a time do not hide each other: nobody waits in vain.
func TestRefusalsOfSeveralSubjects(t *testing.T) {
	url := realServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"no.>"}}}}}
	})
	o, err := newOptions([]Option{WithNode("n"), WithNATS(nats.UserInfo("u", "p"))})
	require.NoError(t, err)
	d, err := newDialer(url, o)
	require.NoError(t, err)
	nc, _, err := d.dial(t.Context(), false)
	require.NoError(t, err)
	defer nc.Close()
	own, brought := newTrunk(nc, true), newTrunk(nc, false)
	own.refusals = &d.again.subjects

	var waiting []context.Context
	for i := range 2 * mostRefusals {
		subject := fmt.Sprint("no.", i)
		if i >= mostRefusals { // the same ones again
			subject = fmt.Sprint("no.", i-mostRefusals)
		}
		ctx, stop := unlessRefused(t.Context(), own, subject)
		defer stop()
		waiting = append(waiting, ctx)
		require.NoError(t, own.Publish(subject, nil))
	}
	for i, ctx := range waiting {
		select {
		case <-ctx.Done():
			require.ErrorIs(t, context.Cause(ctx), nats.ErrPermissionViolation)
			require.ErrorContains(t, context.Cause(ctx), fmt.Sprintf(`"no.%d"`, i%mostRefusals))
		case <-time.After(30 * time.Second):
			require.FailNow(t, "waits for ever", "no.%d", i%mostRefusals)
		}
	}
	require.NoError(t, refused(own, "yes"))
	// Of a connection that was brought the last one is known, and what was looked at before.
	require.ErrorIs(t, refused(brought, fmt.Sprint("no.", mostRefusals-1)), nats.ErrPermissionViolation)
	require.NoError(t, brought.Publish("no.more", nil))
	require.Eventually(t, func() bool { return refused(brought, "no.more") != nil }, 30*time.Second, time.Millisecond)
	require.ErrorIs(t, refused(brought, fmt.Sprint("no.", mostRefusals-1)), nats.ErrPermissionViolation)
}

func TestRefusedSubjectsAreBounded(t *testing.T) {
	r := &refusedSubjects{}
	for i := range 3 * mostRefusals {
		require.EqualValues(t, i+1, r.note(fmt.Errorf(`%w: Permissions Violation for Publish to "s%d"`, nats.ErrPermissionViolation, i)))
	}
	require.Len(t, r.of, mostRefusals)
	require.NoError(t, r.since(0, "s0"))
	require.Error(t, r.since(0, fmt.Sprint("s", 3*mostRefusals-1)))
	before := r.note(nats.ErrTimeout)
	require.NoError(t, r.since(before, fmt.Sprint("s", 3*mostRefusals-1)), "it was refused before")
}
