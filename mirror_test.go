package rolebus

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// mirror makes the only one who answers direct gets a mirror that stopped at what the bucket held before then, and is told no more.
func (k *kv) mirror(t *testing.T, filter string, then func()) {
	t.Helper()
	ctx := t.Context()
	_, err := k.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "copy", Mirror: &jetstream.StreamSource{Name: k.subj.stream(), FilterSubject: filter}, AllowDirect: true, MirrorDirect: true,
	})
	require.NoError(t, err)
	stream, err := k.js.Stream(ctx, k.subj.stream())
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	cfg.AllowDirect = false // else both answer, as it happens
	_, err = k.js.UpdateStream(ctx, cfg)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		answer, err := k.nc.RequestWithContext(soon, k.subj.directGet()+"."+k.subj.record("s", "n0"), nil)
		return err == nil && (filter != "" || answer.Header.Get("Nats-Stream") == "copy")
	}, 30*time.Second, 10*time.Millisecond)
	then()
}

// Who reads of a mirror reads of the leader instead.
func TestAMirrorIsNotTheStream(t *testing.T) {
	t.Parallel()
	for name, filter := range map[string]string{"that has all": "", "that has another node": "$KV.rolebus.s.n1"} {
		for _, consumers := range []bool{true, false} {
			for _, single := range []bool{true, false} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					k, ctx := realKV(t), t.Context()
					k.single.Store(single)
					k.noConsumer.Store(!consumers)
					k.fill(t, "s", 5)
					k.mirror(t, filter, func() {
						_, generation, err := k.lead(ctx, "s", "n0")
						require.NoError(t, err)
						_, err = k.put(ctx, "s", state("n0", 2, 1, "new"), generation)
						require.NoError(t, err)
					})
					c, newest, err := k.lead(ctx, "s", "n0")
					require.NoError(t, err)
					require.EqualValues(t, 2, c.id.incarnation)
					sure, err := k.newest(ctx, "s", true)
					require.NoError(t, err)
					require.Equal(t, newest, sure)
					changes, last, err := k.read(ctx, "s", 1, newest)
					require.NoError(t, err)
					require.Equal(t, newest, last)
					require.Equal(t, []string{"n1", "n2", "n3", "n4", "n0"}, nodesOf(changes))
					if filter == "" {
						c, _, err = k.get(ctx, "s", "n0")
						require.NoError(t, err)
						require.EqualValues(t, 2, c.id.incarnation)
					}

					require.NoError(t, k.full().DeleteStream(ctx, k.subj.stream()))
					_, _, err = k.lead(ctx, "s", "n0")
					require.ErrorIs(t, err, errUnanswered, "it does not exist any more")
					_, _, err = k.get(ctx, "s", "n1")
					require.ErrorIs(t, err, errUnanswered)
				})
			}
		}
	}
}
