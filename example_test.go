package rolebus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/rolebustest"
)

// The Go code of README.md and docs/HOOKS.md stands here, too, word for word: TestDocumentedCodeIsTested compares them.

func Example() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, url := context.Background(), server.URL()

	bus, err := rolebus.Connect(ctx, url, rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	if err := bus.AddRoles(ctx, "api", "primary"); err != nil {
		log.Fatal(err)
	}
	for node := range bus.Nodes("api").All() {
		fmt.Println(node.Name(), node.Roles())
	}
	// Output: api-1 [api primary]
}

// A program that has a connection already.
func ExampleNew() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()

	nc, err := nats.Connect(server.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	bus, err := rolebus.New(ctx, nc,
		rolebus.WithNode("api-1"),
		rolebus.WithRoles("api"),
		rolebus.WithMeta(map[string]string{"addr": "10.0.0.7:8080"}))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close() // before the connection

	for node := range bus.Nodes("api").All() {
		fmt.Println(node.Name(), "at", node.Meta("addr"))
	}
	// Output: api-1 at 10.0.0.7:8080
}

func ExampleBus_Join() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	billing, err := bus.Join(ctx, "billing")
	if err != nil {
		log.Fatal(err)
	}
	if err := billing.AddRoles(ctx, "ledger"); err != nil {
		log.Fatal(err)
	}
	// Adding a role in a scope that is not joined joins it.
	if err := bus.In("search").AddRoles(ctx, "indexer"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bus.Scopes())                                  // [billing default search]
	fmt.Println(billing.Nodes("ledger"), bus.Nodes("ledger"))  // [api-1] []
	fmt.Println(bus.In("search").MyRoles(), billing.MyRoles()) // [indexer] [ledger]

	// Leaving takes all roles there away, for everybody, at once.
	if err := bus.Leave(ctx, "billing"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bus.Scopes())
	// Output:
	// [billing default search]
	// [api-1] []
	// [indexer] [ledger]
	// [default search]
}

func ExampleScope_Watch() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"), rolebus.WithRoles("api", "primary"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	ctx, stop := context.WithTimeout(ctx, time.Second/2)
	defer stop()
	for ev := range bus.Watch(ctx) {
		switch ev.Kind {
		case rolebus.RoleAdded:
			fmt.Println(ev.Node, "has the role", ev.Role)
		case rolebus.NodeLeft: // unreachable: NodeJoined or NodeBuried follows; with any other reason it is certain already
			fmt.Println("send nothing more to", ev.Node, ev.Reason)
		case rolebus.NodeBuried:
			fmt.Println("certain now, of one that was unreachable: hand on the work of", ev.Node)
		}
	}
	// Output:
	// api-1 has the role api
	// api-1 has the role primary
}

func ExampleWithHandler() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, url := context.Background(), server.URL()

	added := make(chan rolebus.Event, 16)
	bus, err := rolebus.Connect(ctx, url,
		rolebus.WithNode("api-1"),
		rolebus.WithRoles("api"),
		rolebus.WithHandler(rolebus.Handler{
			OnRoleAdded: func(ev rolebus.Event) { added <- ev },
			OnNodeLeft:  func(ev rolebus.Event) { log.Println(ev.Scope, ev.Node, ev.Reason) },
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	ev := <-added
	fmt.Println(ev.Scope, ev.Node, ev.Role)
	// Output: default api-1 api
}

// metrics counts and measures. Its methods come one at a time; whoever reads the numbers does so at any time.
type metrics struct {
	up, syncs, behind, missed atomic.Int64
	slowest                   atomic.Int64 // heartbeat
}

func (m *metrics) OnNodeUp(rolebus.NodeUpInfo)     { m.up.Add(1) }
func (m *metrics) OnNodeDown(rolebus.NodeDownInfo) { m.up.Add(-1) }

func (m *metrics) OnSync(info rolebus.SyncInfo) {
	m.syncs.Add(1)
	if info.Changed {
		m.behind.Add(1)
	}
}

func (m *metrics) OnHeartbeat(info rolebus.HeartbeatInfo) {
	m.slowest.Store(max(m.slowest.Load(), int64(info.Took)))
	if info.Err != nil {
		log.Printf("scope %s: heartbeat %v late: %v", info.Scope, info.Late, info.Err)
	}
}

func (m *metrics) OnMissed(info rolebus.MissedInfo) { m.missed.Add(int64(info.Events)) }

func ExampleWithHooks() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, url := context.Background(), server.URL()

	m := &metrics{}
	bus, err := rolebus.Connect(ctx, url, rolebus.WithNode("api-1"), rolebus.WithHooks(m))
	if err != nil {
		log.Fatal(err)
	}
	other, err := rolebus.Connect(ctx, url, rolebus.WithNode("api-2"), rolebus.WithRoles("api"))
	if err != nil {
		log.Fatal(err)
	}
	defer other.Close()
	if err := bus.WaitFor(ctx, "api", 1); err != nil {
		log.Fatal(err)
	}
	for m.up.Load() < 2 { // a hook is told a moment later
		time.Sleep(time.Millisecond)
	}
	if err := bus.Close(); err != nil { // delivers what the hook was not told yet
		log.Fatal(err)
	}
	fmt.Println(m.up.Load(), "nodes,", m.missed.Load(), "events missed")
	// Output: 2 nodes, 0 events missed
}

func ExampleRoleOf() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	shard := rolebus.MustRole([]any{"shard", 7}) // ["shard",7]; and 42 is not "42"
	if err := bus.In("billing").AddRoles(ctx, "ledger", shard); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bus.In("billing").MyRoles(), bus.MyRoles()) // [["shard",7] ledger] []

	number, err := rolebus.RoleOf(42)
	if err != nil {
		log.Fatal(err)
	}
	text, err := rolebus.RoleOf("42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(number, text)
	// Output:
	// [["shard",7] ledger] []
	// 42 "42"
}

// Several questions to one and the same state.
func ExampleScope_Snapshot() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	bus, err := rolebus.Connect(context.Background(), server.URL(), rolebus.WithNode("api-1"), rolebus.WithRoles("api"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	snap := bus.Snapshot()
	if stale := snap.Stale(); stale > 0 {
		log.Printf("no contact with NATS for %v", stale)
	}
	fmt.Println(snap.Nodes("api").Len(), "of", snap.AllNodes().Len(), "nodes have the role")
	// Output: 1 of 1 nodes have the role
}

// A change that NATS does not confirm in time is not lost.
func ExampleScope_AddRoles() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	bus, err := rolebus.Connect(context.Background(), server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	if err := server.Close(); err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err = bus.AddRoles(ctx, "primary")
	if errors.Is(err, rolebus.ErrNotConfirmed) {
		fmt.Println("not stored yet, but wanted: it is written when NATS is back")
	}
	_ = bus.Shutdown(ctx) // without patience: nobody is there to hear the goodbye
	// Output: not stored yet, but wanted: it is written when NATS is back
}

// What a process needs of the bus while it serves and when it ends.
func drain(ctx context.Context, bus *rolebus.Bus, server *http.Server) {
	bus.OnShutdown(func(ctx context.Context) {
		_ = server.Shutdown(ctx) // of net/http: waits for the requests that run
	})
	select {
	case <-ctx.Done(): // SIGTERM
	case <-bus.Done(): // it has stopped by itself: a newer process has its name
	}
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	if err := bus.Shutdown(ctx); err != nil {
		log.Print(err)
	}
}

func ExampleBus_Shutdown() {
	nats, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer nats.Close()
	bus, err := rolebus.Connect(context.Background(), nats.URL(), rolebus.WithRoles("api"))
	if err != nil {
		log.Fatal(err)
	}
	sigterm, terminate := context.WithCancel(context.Background())
	terminate()
	drain(sigterm, bus, &http.Server{})
	fmt.Println(bus.Err())
	// Output: rolebus: bus is closed
}

// In a pod: its name is the node's, and the kubelet asks how it is.
func ExampleBus_Check() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	os.Setenv("NATS_URL", server.URL())
	os.Setenv("POD_NAME", "api-7f9c")
	ctx := context.Background()

	bus, err := rolebus.Connect(ctx, os.Getenv("NATS_URL"), rolebus.WithNode(os.Getenv("POD_NAME")))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) {
		if err := bus.Err(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	http.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := bus.Check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})

	ask := func(path string) int {
		answer := httptest.NewRecorder()
		http.DefaultServeMux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		return answer.Code
	}
	fmt.Println(ask("/livez"), ask("/readyz"))
	if err := bus.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ask("/livez"), ask("/readyz"))
	// Output:
	// 200 200
	// 500 503
}

func ExampleWithAllScopes() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, url := context.Background(), server.URL()

	api, err := rolebus.Connect(ctx, url, rolebus.WithNode("api-1"), rolebus.WithRoles("api"))
	if err != nil {
		log.Fatal(err)
	}
	_ = api.Close() // a dashboard waits for the first one, who makes the bucket

	bus, err := rolebus.Connect(ctx, url, rolebus.WithObserver(), rolebus.WithAllScopes())
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/fleet", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(bus.In(r.FormValue("scope")).Snapshot())
	})
	defer bus.Close()

	answer := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/fleet?scope=default", nil))
	fmt.Print(answer.Body)
	// Output: {"scope":"default","joined":true,"nodes":[]}
}

func call(ctx context.Context, bus *rolebus.Bus) error {
	node := bus.Nodes("api").Pick() // or Owner(key): the same node for a key in every process
	if node == nil {
		return errors.New("no api is up")
	}
	ctx, cancel := bus.While(ctx, node)
	defer cancel()
	reply, err := bus.Conn().RequestWithContext(ctx, "api."+rolebus.SubjectToken(node.Name()), []byte("hello"))
	if errors.Is(context.Cause(ctx), rolebus.ErrNodeGone) || errors.Is(err, nats.ErrNoResponders) {
		fmt.Println("gone, try another one:", node.Meta("addr"))
	}
	if err == nil {
		fmt.Printf("%s\n", reply.Data)
	}
	return err
}

func ExampleScope_While() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	fmt.Println(call(ctx, bus))

	_, err = bus.Conn().Subscribe("api."+rolebus.SubjectToken(bus.Name()), func(msg *nats.Msg) { _ = msg.Respond(append(msg.Data, " yourself"...)) })
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.AddRoles(ctx, "api"); err != nil {
		log.Fatal(err)
	}
	if err := call(ctx, bus); err != nil {
		log.Fatal(err)
	}
	// Output:
	// no api is up
	// hello yourself
}

func ExampleScope_LeaseContext() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	bus, err := rolebus.Connect(context.Background(), server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	ctx := bus.LeaseContext()
	select {
	case <-ctx.Done():
		log.Print("stop at once: ", context.Cause(ctx))
	default:
		fmt.Println("listed for another", bus.LeaseLeft())
	}
}

func ExampleBus_Done() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	newer, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer newer.Close()

	<-bus.Done()
	if errors.Is(bus.Err(), rolebus.ErrSuperseded) {
		fmt.Println("a newer process has this node's name")
	}
	// Output: a newer process has this node's name
}

func ExampleScope_WaitFor() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("db-1"), rolebus.WithRoles("db"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	if err := bus.WaitFor(ctx, "db", 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println("there is a database")
	// Output: there is a database
}

func TestFailover(t *testing.T) {
	server := rolebustest.NewServer(t)
	link := server.Link()
	watcher := server.Bus(rolebus.WithNode("api-1"))
	link.Bus(rolebus.WithNode("api-2"), rolebus.WithRoles("api"))
	rolebustest.WaitNodes(t, watcher, "api", 1)

	link.Cut() // to everybody else, the process has died
	rolebustest.WaitNodes(t, watcher, "api", 0)
}

// A deployment job makes the bucket, and the processes need no right to.
func ExampleProvision() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, url := context.Background(), server.URL()
	nc, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	func() {
		bucket := []rolebus.Option{rolebus.WithReplicas(1), rolebus.WithMaxBytes(64 << 20)}
		plan, err := rolebus.PlanProvision(ctx, nc, bucket...)
		if err != nil {
			log.Fatal(err) // a stream that is somebody else's, say
		}
		fmt.Println("make:", plan.Make, "mend:", plan.Mend)
		if err := rolebus.Provision(ctx, nc, bucket...); err != nil {
			log.Fatal(err)
		}
	}()

	bus, err := rolebus.Connect(ctx, url, rolebus.WithoutProvisioning())
	if errors.Is(err, rolebus.ErrNoBucket) {
		log.Fatal("the deployment job did not run: ", err) // it waited until ctx was over
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("joined:", bus.Scopes())
	_ = bus.Close()
	// Output:
	// make: true mend: []
	// joined: [default]
}
