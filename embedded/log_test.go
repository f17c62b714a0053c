package embedded

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// overheard is a server's log, with what the server said before anything was hidden or held.
type overheard struct {
	*serverLog
	told *toldLines

	mu  sync.Mutex
	raw []string
}

func (l *overheard) hear(format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw = append(l.raw, fmt.Sprintf(format, args...))
}

func (l *overheard) Noticef(format string, args ...any) {
	l.hear(format, args)
	l.serverLog.Noticef(format, args...)
}

func (l *overheard) Warnf(format string, args ...any) {
	l.hear(format, args)
	l.serverLog.Warnf(format, args...)
}

func (l *overheard) Errorf(format string, args ...any) {
	l.hear(format, args)
	l.serverLog.Errorf(format, args...)
}

func (l *overheard) Tracef(format string, args ...any) {
	l.hear(format, args)
	l.serverLog.Tracef(format, args...)
}

func (l *overheard) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw[:len(l.raw):len(l.raw)]
}

// await waits for a line that the server said.
func (l *overheard) await(t *testing.T, part string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, text := range l.heard() {
			if strings.Contains(text, part) {
				return text
			}
		}
	}
	require.FailNow(t, "never said", part)
	return ""
}

type toldLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *toldLines) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *toldLines) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// logged runs a server with a route port and no JetStream, until the test ends or it is stopped; routes are URLs.
func logged(t *testing.T, set func(*server.Options), routes ...string) (*server.Server, *overheard, func()) {
	t.Helper()
	o := &server.Options{
		Host: loopback, Port: server.RANDOM_PORT, NoSigs: true,
		Cluster: server.ClusterOpts{Name: "c", Host: loopback, Port: server.RANDOM_PORT, Username: "route"},
	}
	for _, route := range routes {
		u, err := url.Parse(route)
		require.NoError(t, err)
		o.Routes = append(o.Routes, u)
	}
	set(o)
	told := &toldLines{}
	l := &overheard{told: told}
	l.serverLog = newServerLog(slog.New(slog.NewTextHandler(told, &slog.HandlerOptions{Level: slog.LevelDebug})))
	l.conceal(secretsOf(o))
	ns, err := server.NewServer(o)
	require.NoError(t, err)
	ns.SetLoggerV2(l, false, o.Trace, false)
	ns.Start()
	end := sync.OnceFunc(func() {
		stop(ns)
		l.end()
	})
	t.Cleanup(end)
	require.True(t, ns.ReadyForConnections(time.Minute))
	return ns, l, end
}

func routeTo(ns *server.Server, password string) string {
	u := url.URL{Scheme: "nats", User: url.UserPassword("route", password), Host: net.JoinHostPort(loopback, strconv.Itoa(ns.ClusterAddr().Port))}
	return u.String()
}

var counted = regexp.MustCompile(`\((\d+) more like this`)

// Servers that refuse each other's routes do so for ever: a log has a few lines of it, and the number of the others.
func TestRefusedRoutesAreLoggedAFewTimes(t *testing.T) {
	t.Parallel()
	const right, wrong = "the-right-one", "the,wrong:one"
	a, logA, endA := logged(t, func(o *server.Options) { o.Cluster.Password = right })
	_, logB, endB := logged(t, func(o *server.Options) { o.Cluster.Password = right + "!" }, routeTo(a, wrong))
	for deadline := time.Now().Add(time.Minute); len(logA.heard()) < 50 || len(logB.heard()) < 50; time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "%d and %d lines", len(logA.heard()), len(logB.heard()))
	}
	endB()
	endA()
	for _, l := range []*overheard{logA, logB} {
		lines := strings.Split(strings.TrimSpace(l.told.String()), "\n")
		t.Logf("%d of %d lines:\n%s", len(lines), len(l.heard()), l.told.String())
		n := 0
		refused := 0
		for _, text := range lines {
			n++
			if strings.Contains(text, "Authentication Failure") {
				refused++
			}
			if more := counted.FindStringSubmatch(text); more != nil {
				count, err := strconv.Atoi(more[1])
				require.NoError(t, err)
				n += count
			}
			require.NotContains(t, text, right)
			require.NotContains(t, text, "wrong")
		}
		require.Equal(t, len(l.heard()), n, "each line is told, or counted")
		require.LessOrEqual(t, len(lines), 30)
		require.LessOrEqual(t, refused, firstLines+1, "and the number of the others")
	}
}

func TestRouteThatAReloadRemovesIsLoggedWithoutItsPassword(t *testing.T) {
	const password = "its own"
	withPassword := func(o *server.Options) { o.Cluster.Password = password }
	a, _, _ := logged(t, withPassword)
	route := routeTo(a, password)
	var options *server.Options
	b, l, _ := logged(t, func(o *server.Options) { withPassword(o); options = o }, route)
	require.Eventually(t, func() bool { return b.NumRoutes() > 0 }, time.Minute, time.Millisecond)
	l.conceal(nil) // by its form
	without := options.Clone()
	without.Routes = nil
	require.NoError(t, b.ReloadOptions(without))
	said := l.await(t, "Removed route")
	require.Contains(t, said, url.User(password).String(), "else there is nothing to hide")
	require.Contains(t, l.told.String(), "Removed route nats://route:xxxxx@127.0.0.1:")
	require.NotContains(t, l.told.String(), "own")
}

// nats-server hides what is before a quote or a comma in a password, and nothing in a snippet of what it refused.
func TestTraceOfWhoConnectsHasNoPassword(t *testing.T) {
	for _, password := range []string{"pl4in-secret", "com,ma-secret", `quo"te-secret`, `quo","te-secret`, "bra}ce-secret", `back\slash"-secret`, `all"}]-secret`} {
		ns, l, end := logged(t, func(o *server.Options) { o.Trace = true })
		nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo("ada", password), nats.Name("teller"))
		require.NoError(t, err)
		nc.Close()
		end()
		l.await(t, "[CONNECT ")
		require.Contains(t, l.told.String(), "[CONNECT ")
		require.NotContains(t, l.told.String(), "secret", password)
	}
	ns, l, end := logged(t, func(*server.Options) {})
	conn, err := net.Dial("tcp", ns.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("CONEKT {\"pass\":\"snippet-secret\"}\r\n"))
	require.NoError(t, err)
	require.Contains(t, l.await(t, "parser ERROR"), "snippet", "else there is nothing to hide")
	end()
	require.NotContains(t, l.told.String(), "snippet")
	require.Contains(t, l.told.String(), "parser ERROR")
}

func TestErrorsHaveNoSecrets(t *testing.T) {
	l := newServerLog(slog.New(slog.DiscardHandler))
	require.NoError(t, l.clean(nil))
	require.Equal(t, net.ErrClosed, l.clean(net.ErrClosed), "it has none")
	require.EqualError(t, l.clean(fmt.Errorf("nats://u:p@h: %w", net.ErrClosed)), "nats://u:xxxxx@h: "+net.ErrClosed.Error())
	l.conceal([]string{"the-older"})
	l.conceal([]string{"the-newer"})
	l.Fatalf("cannot use %s nor %s", "the-older", "the-newer")
	require.EqualError(t, <-l.fatal, "nats-server: cannot use xxxxx nor xxxxx")
	l.conceal(nil)
	require.Equal(t, "the-older xxxxx", l.redact("the-older the-newer"), "one call before")
}
