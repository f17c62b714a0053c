package embedded_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// Bad input, and what it gets: refused or warned of once, with what to do, while a canary sings.

func streams(t *testing.T, nc *nats.Conn) []string {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	list := js.StreamNames(ctx)
	var names []string
	for name := range list.Name() {
		names = append(names, name)
	}
	require.NoError(t, list.Err())
	slices.Sort(names)
	return names
}

func TestStoreOfAMemberIsNotAServersAlone(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	sing(t, all[0]).end(t)
	closeAll(all...)
	_, err := embedded.Start(embedded.WithStoreDir(town.store("p0")))
	require.ErrorContains(t, err, "belongs to a cluster")
	require.ErrorContains(t, err, town.store("p0"))
	back := newTown(t)
	back.dir = town.dir
	again := back.form(t, 3)
	require.Equal(t, []string{"KV_canary"}, streams(t, connect(t, again[0].URL())))
}

func TestNameOfAMemberIsRefusedToAnother(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 4)
	canary := sing(t, all[0])
	for _, taken := range []string{"p0", "p2"} {
		p := begin(t, town.strategy(), embedded.WithName(taken))
		await(t, p, "to be refused", func(s embedded.ClusterState) bool { return s.Part == embedded.Refused })
		require.Contains(t, p.State().Waiting, "WithName")
		until(t, func() bool { return len(p.refusals()) == 1 }, func() string { return "its hook" })
		require.Contains(t, p.refusals()[0].Reason, `another process has the name "`+taken+`"`)
		require.NoError(t, p.Close())
	}
	canary.end(t)
	for _, p := range all {
		await(t, p, "as before", func(s embedded.ClusterState) bool { return whole(3)(s) })
	}
}

func TestRefusedForItsNameTakesPartWhenTheOtherIsGone(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 4)
	canary := sing(t, all[0])
	p := begin(t, town.strategy(), embedded.WithName("p3"))
	until(t, func() bool { return p.State().Part == embedded.Refused || all[3].State().Part == embedded.Refused }, func() string { return "one to be refused" })
	if first := all[3]; first.State().Part == embedded.Refused { // they began at the same time, nearly
		p, all[3] = first, p
	}
	require.NoError(t, all[3].Close())
	await(t, p, "to be a spare", isSpare)
	canary.end(t)
}

func TestCopyOfAStoreIsRefused(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	canary := sing(t, all[0])
	require.NoError(t, all[2].Close())
	copyOf := t.TempDir()
	copyTree(t, town.store("p2"), copyOf)
	p2 := town.begin(t, "p2")
	await(t, p2, "to be back", isMember)
	double := begin(t, town.strategy(), embedded.WithStoreDir(copyOf))
	until(t, func() bool {
		return (p2.State().Part == embedded.Refused) != (double.State().Part == embedded.Refused) && (isMember(p2.State()) || isMember(double.State()))
	}, func() string { return fmt.Sprintf("one of them to be refused: %+v\n%+v", p2.State(), double.State()) })
	for _, p := range []*process{p2, double} {
		if s := p.State(); s.Part == embedded.Refused {
			require.Contains(t, s.Waiting, "another process has the name")
		}
	}
	canary.end(t)
	await(t, all[0], "as before", whole(3))
}

func TestSizeChangedLaterIsRefused(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	canary := sing(t, all[0])
	spare := town.begin(t, "p7", embedded.WithSize(5))
	await(t, spare, "to be refused", func(s embedded.ClusterState) bool { return s.Part == embedded.Refused })
	require.Contains(t, spare.State().Waiting, "WithSize(3)")
	until(t, func() bool { return len(spare.refusalsWith("WithSize(3)")) > 0 }, func() string { return "its hook" })
	until(t, func() bool { return len(all[0].refusalsWith("size 5")) == 1 }, func() string { return "a member's warning" })

	require.NoError(t, all[2].Close())
	_, err := embedded.Cluster(t.Context(), town.strategy(), embedded.WithSize(5), embedded.WithStoreDir(town.store("p2")))
	require.ErrorContains(t, err, "which cannot be changed: give WithSize(3)")
	await(t, town.begin(t, "p2"), "to be back", isMember)
	canary.end(t)
}

// A process whose server does not start, as on a disk that is full, is there, and no server of its is to be connected to: the others are as ready as if
// it was not there.
func TestServerThatDoesNotStartIsInNobodysWay(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	canary := sing(t, all[0])
	require.NoError(t, all[2].Close())
	var made atomic.Int64
	var mended atomic.Bool
	p2 := town.begin(t, "p2", embedded.WithServerOptions(func(o *server.Options) {
		o.JetStream = made.Add(1) == 1 || mended.Load() // the first time they are tried out
	}))
	await(t, p2, "to say so", func(s embedded.ClusterState) bool { return strings.Contains(s.Waiting, "does not start") })
	require.Never(t, func() bool { return !all[0].State().Ready || !all[1].State().Ready }, 6*time.Second, 50*time.Millisecond)
	inTheWay := filepath.Join(town.store("p2"), "rolebus-cluster.json.new")
	require.NoError(t, os.Mkdir(inTheWay, 0o700))
	await(t, p2, "not even to try", func(s embedded.ClusterState) bool { return strings.Contains(s.Waiting, "which cannot be written") })
	require.NoError(t, os.Remove(inTheWay))
	mended.Store(true)
	await(t, p2, "to be back", whole(3))
	canary.end(t)
}

func TestAnotherFleetIsAStranger(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	canary := sing(t, all[0])
	other := begin(t, town.strategy(), embedded.WithFleet("other"), embedded.WithName("p9"))
	until(t, func() bool {
		return len(all[0].refusalsWith(`of the fleet "other"`)) == 1 && len(other.refusalsWith(`of the fleet "rolebus"`)) == 3
	}, func() string { return "both to warn of it" })
	require.Equal(t, embedded.Forming, other.State().Part)
	canary.end(t)
	require.Len(t, all[0].refusals(), 1)
	for _, p := range append(all, other) {
		for _, r := range p.refusals() {
			require.NotRegexp(t, ":0$", r.Address, "where it listens, also if it has asked first")
		}
		for _, line := range p.lines("does not fit") {
			require.Equal(t, 1, strings.Count(line, " process="), "whose log it is: %s", line)
			require.Contains(t, line, " other=p")
		}
	}
}

func TestAnotherSecretIsToldOnce(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3, embedded.WithSecret(secretOf('a')))
	canary := sing(t, all[0])
	other := begin(t, town.strategy(), embedded.WithSecret(secretOf('b')), embedded.WithName("p9"))
	none := begin(t, town.strategy(), embedded.WithName("p8"))
	for _, p := range []*process{other, none} {
		until(t, func() bool { return len(p.lines("it has another secret")) >= 3 }, func() string { return "its warning: " + p.log.String() })
	}
	until(t, func() bool { return len(all[0].lines("it has another secret")) >= 2 }, func() string { return "a member's warning: " + all[0].log.String() })
	asked := time.Now()
	canary.end(t)
	for _, p := range all { // a line for whom it asks, and one for those who ask it: of each of the two
		require.LessOrEqual(t, len(p.lines("secret")), 4, "within %v:\n%s", time.Since(asked), p.log)
		require.Empty(t, p.refusals())
		require.Len(t, p.State().Spares, 0)
	}
	require.Equal(t, embedded.Forming, other.State().Part)
	require.Equal(t, embedded.Forming, none.State().Part)
}

func TestSomethingElseOnTheClusterPortIsToldOnce(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	address, err := url.Parse(web.URL)
	require.NoError(t, err)
	http, err := strconv.Atoi(address.Port())
	require.NoError(t, err)
	alone := start(t)

	town := newTown(t)
	all := town.form(t, 3)
	canary := sing(t, all[0])
	member, err := rolebus.ParseAddress(all[0].URL()[:len("nats://127.0.0.1:")+5])
	require.NoError(t, err)
	list := []rolebus.Address{at("127.0.0.1", http), at("127.0.0.1", port(t, alone)), at("127.0.0.1", member.Port), at("127.0.0.1", freePorts(t, 1)[0])}
	p := begin(t, show(list...), embedded.WithClusterPort(freePorts(t, 1)[0]))
	until(t, func() bool { return len(p.lines("not one of ours")) == 3 }, func() string { return "its warnings: " + p.log.String() })
	canary.end(t)
	require.Len(t, p.lines("not one of ours"), 3)
	require.Equal(t, embedded.Forming, p.State().Part)
}

func TestTwoClustersNeverMix(t *testing.T) {
	t.Parallel()
	one, two := newTown(t), newTown(t)
	secret := embedded.WithSecret(secretOf('a'))
	first, seen := one.form(t, 3, secret), show()
	var second []*process
	ports := freePorts(t, 3)
	for i, port := range ports {
		dir := two.store("q" + strconv.Itoa(i))
		p := begin(t, show2(two.strategy(), seen), secret, embedded.WithName("q"+strconv.Itoa(i)), embedded.WithStoreDir(dir), embedded.WithClusterPort(port))
		second, two.all = append(second, p), append(two.all, p)
	}
	for _, p := range second {
		await(t, p, "a member", isMember)
	}
	canaries := []*canary{sing(t, first[0]), sing(t, second[0])}
	watched := begin(t, one.strategy(), secret, embedded.WithName("p3"))
	await(t, watched, "a spare", isSpare)

	var to []rolebus.Address
	for _, p := range ports {
		to = append(to, at("127.0.0.1", p))
	}
	// The second cluster is shown to one of the first, which tells its own others.
	shown := begin(t, show2(one.strategy(), show(to...)), secret, embedded.WithName("between"))
	for _, p := range []*process{first[0], second[0]} {
		until(t, func() bool { return len(p.refusalsWith("another cluster")) > 0 }, p.log.String)
	}
	await(t, shown, "to ask a person", func(s embedded.ClusterState) bool {
		return s.Part != embedded.Member && len(s.Waiting) > 0 && s.Waiting[:4] == "you:"
	})
	for _, c := range canaries {
		c.end(t)
	}
	for _, all := range [][]*process{first, second} {
		for _, p := range all {
			s := await(t, p, "whole", whole(3))
			require.Equal(t, all[0].State().Cluster, s.Cluster)
			until(t, func() bool { return len(p.refusalsWith("another cluster")) > 0 }, p.log.String)
			of := map[string]bool{}
			for _, r := range p.refusalsWith("another cluster") {
				require.False(t, of[r.Process], "told twice of %s", r.Process)
				of[r.Process] = true
			}
		}
	}
}

func TestNameThatTwoMembersHaveIsOnesAlone(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	canary := sing(t, all[0])
	require.NoError(t, all[2].Close())
	copyOf := t.TempDir()
	copyTree(t, town.store("p2"), copyOf)
	p2 := town.begin(t, "p2")
	double := begin(t, town.strategy(), embedded.WithStoreDir(copyOf)) // at once: both look around at the same time
	until(t, func() bool {
		return (p2.State().Part == embedded.Refused) != (double.State().Part == embedded.Refused) && (isMember(p2.State()) || isMember(double.State()))
	}, func() string { return "one of them to give way" })
	canary.end(t)
}
