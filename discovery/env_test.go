package discovery_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

const variable = "ROLEBUS_TEST_SERVERS"

func watchEnv(t *testing.T, name string, more ...discovery.Option) *watched {
	return watch(t, func(seen ...discovery.Option) discovery.Strategy {
		return discovery.Env(name, append(append(seen, discovery.Interval(10*time.Millisecond)), more...)...)
	})
}

func TestEnvListsWhatStandsThereAndFollowsIt(t *testing.T) {
	t.Setenv(variable, "")
	require.NoError(t, os.Unsetenv(variable))
	w := watchEnv(t, variable, discovery.Port(5222), discovery.Cluster("c1"))
	require.ErrorContains(t, w.failed(discovery.ReasonEmpty), "ROLEBUS_TEST_SERVERS: the environment variable is not set (set it to host:port")
	t.Setenv(variable, " ,a.example, b.example:4222,\ttls://c.example:1 [fd00::1]:2\n fd00::2,a.example,,\r\n")
	w.eventually("[fd00::1]:2 [fd00::2]:5222 a.example:5222 b.example:4222 tls://c.example:1")
	require.Equal(t, "c1", w.list()[0].Cluster)
	t.Setenv(variable, "a.example")
	w.eventually("a.example:5222")
	t.Setenv(variable, " \n, ")
	w.until(func() bool { return len(w.warnings()) == 2 }, "an empty one is not told")
	require.Contains(t, w.warnings()[1], "the environment variable is empty")
	w.stands("a.example:5222")
	t.Setenv(variable, "b.example http://x a:b a,nats-route://r.example")
	require.ErrorContains(t, w.failed(discovery.ReasonMalformed), `2 of 5 cannot be used: the first: address`)
	w.eventually("a:5222 b.example:5222 nats-route://r.example:5222")
	t.Setenv(variable, "http://x")
	w.until(func() bool { return strings.Contains(strings.Join(w.warnings(), ""), "ROLEBUS_TEST_SERVERS: address") }, "not told")
	w.stands("a:5222 b.example:5222 nats-route://r.example:5222")
	require.NoError(t, os.Unsetenv(variable))
	t.Setenv(variable, "c.example")
	w.eventually("c.example:5222")
}

// A password may hold what separates addresses: nothing of it may be taken for a host, or shown.
func TestEnvShowsNoPassword(t *testing.T) {
	for _, value := range []string{
		"nats://user:secret@a.example", "nats://user:4222,secret@a.example", "b.example nats://user:sec ret@a.example:4222", "user:secret@a", "secret@a",
		"nats://user:secret,http://b.example,@a.example",
	} {
		t.Setenv(variable, value)
		w := watchEnv(t, variable)
		err := w.failed(discovery.ReasonMalformed)
		require.ErrorContains(t, err, "no user and no password")
		require.ErrorContains(t, err, "give them in the URL of Connect, or by WithNATS")
		w.again(2)
		w.stop()
		require.Empty(t, w.ever())
		for _, text := range []string{"secret", "user:", "sec ", "ret@"} {
			require.NotContains(t, err.Error(), text)
			require.NotContains(t, w.logged(), text)
		}
	}
}

func TestWhichVariable(t *testing.T) {
	t.Setenv("NATS_URL", "a.example:4222,b.example")
	require.Equal(t, []discovery.Address{{Host: "a.example", Port: 4222}, {Host: "b.example"}}, once(t, discovery.Env("")))
	require.Contains(t, discovery.Env("").(interface{ String() string }).String(), "NATS_URL")
	for _, name := range []string{"A=B", "A B", "A\x00", "A\n"} {
		wrong(t, discovery.Env(name), "is no name of an environment variable")
	}
	require.NotContains(t, discovery.Env("user:secret@a b").(interface{ Err() error }).Err().Error(), "secret")
	wrong(t, discovery.Env("A", discovery.Interval(0), discovery.Timeout(time.Second)), "Interval 0s", "does not take Timeout")
	t.Setenv(variable, strings.Repeat("http://x ", 10_000))
	err := watchEnv(t, variable).failed(discovery.ReasonMalformed)
	require.Less(t, len(err.Error()), 1000)
	require.ErrorContains(t, err, "10000 of 10000")
}
