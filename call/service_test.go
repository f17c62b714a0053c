package call

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// counted is an endpoint by hand.
type counted struct {
	method string
	stats  EndpointStats
}

func (c *counted) Method() string       { return c.method }
func (c *counted) Stats() EndpointStats { return c.stats }

// shelf is where the endpoints of a scope stand, by hand.
type shelf struct {
	service *service

	mu  sync.Mutex
	all []handled
}

func newShelf(s *rolebus.Scope) *shelf {
	f := &shelf{}
	f.service = newService(s, func() []handled {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Clone(f.all)
	}, func(msg *nats.Msg) func(*nats.Msg) error {
		if msg.Reply == "" {
			return nil
		}
		return msg.RespondMsg
	})
	return f
}

func (f *shelf) set(methods ...string) {
	f.mu.Lock()
	f.all = nil
	for _, method := range methods {
		f.all = append(f.all, &counted{method: method})
	}
	f.mu.Unlock()
	f.service.changed()
}

// asked returns who answers a question: so many, and those that come right after them. Nobody, if the server says so.
func asked(t *testing.T, nc *nats.Conn, subject string, most int) (ids []string) {
	t.Helper()
	inbox := nats.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	require.NoError(t, err)
	defer func() { _ = sub.Unsubscribe() }()
	require.NoError(t, nc.PublishRequest(subject, inbox, nil))
	for {
		patience := time.Second
		if len(ids) >= most {
			patience = 20 * time.Millisecond
		}
		msg, err := sub.NextMsg(patience)
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) {
			slices.Sort(ids)
			return ids
		}
		require.NoError(t, err)
		ids = append(ids, read[micro.ServiceIdentity](t, msg).Name+" "+read[micro.ServiceIdentity](t, msg).ID)
	}
}

func read[Answer any](t *testing.T, msg *nats.Msg) (answer Answer) {
	t.Helper()
	require.NoError(t, json.Unmarshal(msg.Data, &answer), string(msg.Data))
	return answer
}

// told returns the answer of one service.
func told[Answer any](t *testing.T, nc *nats.Conn, verb, id string) Answer {
	t.Helper()
	msg, err := nc.Request("$SRV."+verb+"."+strings.Replace(id, " ", ".", 1), nil, 10*time.Second)
	require.NoError(t, err)
	return read[Answer](t, msg)
}

func idOf(b *rolebus.Bus, scope string) string {
	n := b.In(scope).Snapshot().Node(b.Name())
	if n == nil {
		return ""
	}
	id := serviceOf(b.Bucket(), scope, b.Name(), n.Incarnation())
	return id.Name + " " + id.ID
}

// waitServices waits until these, and nobody else, answer.
func waitServices(t *testing.T, nc *nats.Conn, subject string, want ...string) {
	t.Helper()
	slices.Sort(want)
	var last []string
	defer func() {
		if t.Failed() {
			t.Logf("%s: %q, not %q", subject, last, want)
		}
	}()
	rolebustest.Eventually(t, subject+" is answered by "+strings.Join(want, ", "), func() bool {
		last = asked(t, nc, subject, len(want))
		return slices.Equal(last, want)
	})
}

func TestAServiceAnswersForAllByNameAndByID(t *testing.T) {
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	a := srv.Bus(rolebus.WithNode("a"), rolebus.WithScopes("eu.west"))
	b := srv.Bus(rolebus.WithNode("b.2"), rolebus.WithScopes("eu.west"))
	for _, bus := range []*rolebus.Bus{a, b} {
		newShelf(bus.In("eu.west")).set("größe", "ship")
	}
	newShelf(a.Scope).set("pay")
	aWest, bWest, aHere := idOf(a, "eu.west"), idOf(b, "eu.west"), idOf(a, "default")
	waitServices(t, nc, "$SRV.PING", aWest, bWest, aHere)
	west, aID, _ := strings.Cut(aWest, " ")
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		waitServices(t, nc, "$SRV."+verb, aWest, bWest, aHere)
		waitServices(t, nc, "$SRV."+verb+"."+west, aWest, bWest)
		waitServices(t, nc, "$SRV."+verb+".rolebus-default", aHere)
		waitServices(t, nc, "$SRV."+verb+"."+west+"."+aID, aWest)
		waitServices(t, nc, "$SRV."+verb+".rolebus-default."+aID, aHere)
		_, err := nc.Request("$SRV."+verb+"."+west+".c-1", nil, 10*time.Second)
		require.ErrorIs(t, err, nats.ErrNoResponders)
	}
	info := told[micro.Info](t, nc, "INFO", aWest)
	require.Equal(t, micro.InfoResponseType, info.Type)
	require.Equal(t, map[string]string{
		"bucket": "rolebus", "scope": "eu.west", "node": "a", "incarnation": strconv.FormatUint(a.In("eu.west").Snapshot().Node("a").Incarnation(), 10),
	}, info.Metadata)
	require.Len(t, info.Endpoints, 2)
	require.Equal(t, map[string]string{"method": "größe"}, info.Endpoints[0].Metadata)
	require.Equal(t, a.In("eu.west").Address("call", a.In("eu.west").Snapshot().Node("a"), "größe"), info.Endpoints[0].Subject)
	stats := told[micro.Stats](t, nc, "STATS", bWest)
	require.Equal(t, []string{info.Endpoints[0].Name, "ship"}, []string{stats.Endpoints[0].Name, stats.Endpoints[1].Name})
}

func TestAServiceIsThereWhileAnythingIsHandled(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	a := srv.Bus(rolebus.WithNode("a"))
	f := newShelf(a.Scope)
	f.service.changed()
	waitServices(t, nc, "$SRV.PING")
	for range 3 {
		f.set("m")
		waitServices(t, nc, "$SRV.PING", idOf(a, "default"))
		f.set()
		waitServices(t, nc, "$SRV.PING")
		rolebustest.Eventually(t, "nobody listens", func() bool {
			_, err := nc.Request("$SRV.PING.rolebus-default", nil, 100*time.Millisecond)
			return errors.Is(err, nats.ErrNoResponders)
		})
	}
	for range 200 { // however often it comes and goes
		f.set("m")
		f.set()
	}
	f.set("m")
	waitServices(t, nc, "$SRV.PING", idOf(a, "default"))
	require.NoError(t, a.Close())
	waitServices(t, nc, "$SRV.PING")
	f.set("m", "n") // after the end it does nothing
}

// The id is that of a life: another stay is another service.
func TestAServiceFollowsTheLivesOfItsNode(t *testing.T) {
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	a := srv.Bus(rolebus.WithNode("a"))
	s := a.In("s")
	newShelf(s).set("m")
	waitServices(t, nc, "$SRV.PING")
	var before string
	for range 3 {
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		now := idOf(a, "s")
		require.NotEqual(t, before, now)
		waitServices(t, nc, "$SRV.PING", now)
		waitServices(t, nc, "$SRV.STATS."+strings.Replace(now, " ", ".", 1), now)
		if before != "" {
			waitServices(t, nc, "$SRV.PING."+strings.Replace(before, " ", ".", 1))
		}
		before = now
		require.NoError(t, a.Leave(t.Context(), "s"))
		waitServices(t, nc, "$SRV.PING")
	}
}

func TestAServiceIsThereAgainAfterABreak(t *testing.T) {
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a := link.Bus(rolebus.WithNode("a"))
	newShelf(a.Scope).set("m")
	waitServices(t, srv.Conn(), "$SRV.PING", idOf(a, "default"))
	link.Cut()
	waitServices(t, srv.Conn(), "$SRV.PING")
	link.Mend()
	rolebustest.Eventually(t, "it is listed", func() bool { return idOf(a, "default") != "" })
	waitServices(t, srv.Conn(), "$SRV.PING", idOf(a, "default"))
}

func TestAServiceThatBeganWithoutAConnectionIsThereLater(t *testing.T) {
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a := link.Bus(rolebus.WithNode("a"))
	link.Cut()
	rolebustest.Eventually(t, "the connection is lost", func() bool { return !a.Conn().IsConnected() })
	newShelf(a.Scope).set("m")
	link.Mend()
	waitServices(t, srv.Conn(), "$SRV.PING", idOf(a, "default"))
}

// An account that does not permit it: everything else goes on, and it is said once in each life.
func TestAServiceThatMayNotListenIsQuiet(t *testing.T) {
	srv := rolebustest.NewServer(t, func(o *natsserver.Options) {
		o.Users = []*natsserver.User{
			{Username: "all", Password: "p"},
			{Username: "app", Password: "p", Permissions: &natsserver.Permissions{Subscribe: &natsserver.SubjectPermission{Deny: []string{"$SRV.>"}}}},
		}
	})
	var mu sync.Mutex
	var refusals []string
	a := srv.Bus(rolebus.WithNode("a"), rolebus.WithNATS(nats.UserInfo("app", "p"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		mu.Lock()
		defer mu.Unlock()
		refusals = append(refusals, err.Error())
	})))
	said := func() int { mu.Lock(); defer mu.Unlock(); return len(refusals) }
	f := newShelf(a.In("s"))
	f.set("m")
	for life := range 3 {
		s, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		rolebustest.Eventually(t, "it was refused", func() bool { return said() > life })
		for _, role := range []rolebus.Role{"x", "y"} { // each is another snapshot
			require.NoError(t, s.AddRoles(t.Context(), role))
			f.set("m", string(role))
		}
		waitServices(t, srv.Conn(nats.UserInfo("all", "p")), "$SRV.PING")
		require.NoError(t, a.Leave(t.Context(), "s"))
		mu.Lock()
		require.Len(t, refusals, life+1, refusals)
		require.Contains(t, refusals[life], "$SRV.PING")
		mu.Unlock()
	}
}

// What an account refused once it may permit later: the next life is seen.
func TestAServiceThatMayListenLaterIsSeenInItsNextLife(t *testing.T) {
	o := &natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	app := func(deny ...string) {
		o.Users = []*natsserver.User{
			{Username: "all", Password: "p"},
			{Username: "app", Password: "p", Permissions: &natsserver.Permissions{Subscribe: &natsserver.SubjectPermission{Deny: deny}}},
		}
	}
	app("$SRV.>")
	srv, err := natsserver.NewServer(o.Clone())
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	require.True(t, srv.ReadyForConnections(10*time.Second))
	refused := make(chan error, 10)
	a, err := rolebus.Connect(t.Context(), srv.ClientURL(), rolebus.WithNode("a"), rolebus.WithNATS(nats.UserInfo("app", "p"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })))
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	newShelf(a.In("s")).set("m")
	_, err = a.Join(t.Context(), "s")
	require.NoError(t, err)
	require.ErrorContains(t, <-refused, "$SRV.PING")
	app()
	require.NoError(t, srv.ReloadOptions(o.Clone()))
	require.NoError(t, a.Leave(t.Context(), "s"))
	_, err = a.Join(t.Context(), "s")
	require.NoError(t, err)
	nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo("all", "p"))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	waitServices(t, nc, "$SRV.PING", idOf(a, "s"))
}

// Who asks without a place for the answer, or has it come where it would mean something, gets none.
func TestAServiceAnswersOnlyWhereItMay(t *testing.T) {
	srv := rolebustest.NewServer(t)
	a := srv.Bus(rolebus.WithNode("a"))
	v := newService(a.Scope, func() []handled { return []handled{&counted{method: "m"}} }, func(*nats.Msg) func(*nats.Msg) error { return nil })
	v.answer(micro.PingVerb, &nats.Msg{}) // and nothing happens
}

// A flood of questions fills no memory, and is over when it is over.
func TestAServiceKeepsNoFloodOfQuestions(t *testing.T) {
	server := rolebustest.NewServer(t)
	b := server.Bus(rolebus.WithNode("api-1"))
	begun, release, answers := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 10*mostAsked)
	var slow service
	slow.scope, slow.bus, slow.self = b.Scope, b, b.Name()
	slow.list = func() []handled {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-release
		return nil
	}
	slow.reply = func(*nats.Msg) func(*nats.Msg) error {
		answers <- struct{}{}
		return func(*nats.Msg) error { return nil }
	}
	slow.hear(question{verb: micro.StatsVerb})
	<-begun
	for range 5 * mostAsked {
		slow.hear(question{verb: micro.StatsVerb})
	}
	close(release)
	rolebustest.Eventually(t, "all that waited are answered", func() bool {
		slow.mu.Lock()
		defer slow.mu.Unlock()
		return !slow.telling
	})
	require.Len(t, answers, mostAsked+1)
	slow.hear(question{verb: micro.StatsVerb})
	rolebustest.Eventually(t, "the next one is answered", func() bool { return len(answers) == mostAsked+2 })
}

func TestAnAnswerThatIsTooLongIsAnError(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	a := srv.Bus(rolebus.WithNode("a"))
	f := newShelf(a.Scope)
	f.set("m")
	waitServices(t, nc, "$SRV.PING", idOf(a, "default"))
	var many []string
	for i := range 10_000 {
		many = append(many, "method-"+strconv.Itoa(i))
	}
	f.set(many...)
	msg, err := nc.Request("$SRV.INFO", nil, 10*time.Second)
	require.NoError(t, err)
	require.Equal(t, "500", msg.Header.Get(micro.ErrorCodeHeader))
	require.Contains(t, msg.Header.Get(micro.ErrorHeader), "maximum payload")
	waitServices(t, nc, "$SRV.PING", idOf(a, "default"))
}
