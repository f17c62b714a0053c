//go:build long

package embedded_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

func TestCertificatesAndAuthorityAreReplacedWithoutAnOutage(t *testing.T) {
	t.Parallel()
	old, fresh := newAuthority(t), newAuthority(t)
	town := newTown(t)
	var pairs []pair
	var all []*process
	for i := range 3 {
		pairs = append(pairs, newPair(t).write(t, old, "127.0.0.1", old))
		all = append(all, town.begin(t, "p"+strconv.Itoa(i), pairs[i].cluster()))
	}
	for _, p := range all {
		ready(t, p)
	}
	canary := sing(t, all[0])
	for step, each := range []struct {
		by       *authority
		believed []*authority
	}{{old, []*authority{old, fresh}}, {fresh, []*authority{old, fresh}}, {fresh, []*authority{fresh}}} {
		for i, p := range all {
			pairs[i].write(t, each.by, "127.0.0.1", each.believed...)
			until(t, func() bool { return len(p.lines("certificate replaced")) == step+1 }, p.log.String)
		}
		canary.more(t, 20)
	}
	// A new connection is by the new ones: of a member that comes back.
	last := leaderFirst(all)[2]
	name := last.State().Name
	require.NoError(t, last.Close())
	i, err := strconv.Atoi(name[1:])
	require.NoError(t, err)
	await(t, town.begin(t, name, pairs[i].cluster()), "to be back", isMember)
	late := begin(t, town.strategy(), newPair(t).write(t, old, "127.0.0.1", old, fresh).cluster(), embedded.WithName("late"))
	until(t, func() bool { return len(late.lines("its TLS does not fit")) >= 3 }, late.log.String)
	canary.end(t)
	for _, p := range all {
		if p != last {
			require.NotContains(t, of(p.told, &p.told.leaders), "", "a leader was missing")
		}
	}
}
