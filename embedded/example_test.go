package embedded_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

func Example() {
	s, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	nc, err := nats.Connect(s.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	info, err := js.AccountInfo(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("streams:", info.Streams)
	// Output: streams: 0
}

// A program that keeps its data, on a port that others know.
func ExampleStart_options() {
	s, err := embedded.Start(
		embedded.WithPort(4222),
		embedded.WithStoreDir("/var/lib/bus"),
		embedded.WithName("bus-1"),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
}

// Processes of a network that allows multicast: each is started with the same secret, and the first three of them become the cluster.
func ExampleCluster() {
	ctx := context.Background()
	cluster, err := embedded.Cluster(ctx, discovery.Gossip("shop", os.Getenv("SECRET")),
		embedded.WithSize(3),
		embedded.WithHost("0.0.0.0"),
		embedded.WithSecret(os.Getenv("SECRET")),
		embedded.WithStoreDir("/var/lib/shop"),
		embedded.WithLogger(slog.Default()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close() // comes back; Leave(ctx) goes for good

	bus, err := cluster.Connect(ctx, rolebus.WithRoles("api")) // waits until the cluster is there
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close() // before the cluster's part
}

// The pods of bus-statefulset.yaml in discovery/kubernetes/manifests.
func ExampleCluster_kubernetes() {
	ctx := context.Background()
	cluster, err := embedded.Cluster(ctx, discovery.DNS("bus", discovery.Port(6222)),
		embedded.WithSize(3),
		embedded.WithName(os.Getenv("POD_NAME")),
		embedded.WithHost("0.0.0.0"),
		embedded.WithPort(4222), embedded.WithClusterPort(6222), embedded.WithRoutePort(6223),
		embedded.WithSecretFile("/secret/secret"),
		embedded.WithStoreDir("/data"),
		embedded.WithLogger(slog.Default()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
}

// What an operator asks of a process, and the rescue by hand, behind whatever keeps others from it.
func ExampleClusterServer_Rescue() {
	var cluster *embedded.ClusterServer // of Cluster
	admin := http.NewServeMux()
	admin.HandleFunc("GET /cluster", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(cluster.State())
	})
	admin.HandleFunc("POST /cluster/rescue", func(w http.ResponseWriter, r *http.Request) {
		if err := cluster.Rescue(r.Context(), r.URL.Query()["lost"]...); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8081", admin))
}
