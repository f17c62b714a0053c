package kubernetes_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// A node in a pod, which finds the servers of the service nats in its own namespace.
func ExampleService() {
	ctx := context.Background()

	bus, err := rolebus.Connect(ctx, "",
		rolebus.WithDiscovery(kubernetes.Service("nats")),
		rolebus.WithNode(os.Getenv("POD_NAME")))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
}

// Where there is no service, or it is in another namespace: by labels. Where the API cannot be asked: by DNS.
func ExamplePods() {
	servers := discovery.Combine(
		kubernetes.Pods("app.kubernetes.io/name=nats", kubernetes.Namespace("messaging"), kubernetes.Port("nats"),
			kubernetes.Discovery(discovery.TLSName("nats.messaging.svc"))),
		discovery.SRV(discovery.ServiceName("nats", "nats", "messaging", "")),
	)
	fmt.Println(servers)
	// Output: Combine: Kubernetes pods app.kubernetes.io/name=nats, SRV _nats._tcp.nats.messaging.svc.cluster.local.
}

// Outside of a pod: with the kubeconfig that kubectl has, and its namespace.
func ExampleConfig() {
	ctx := context.Background()

	kubeconfig := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	config, err := kubeconfig.ClientConfig()
	if err != nil {
		log.Fatal(err)
	}
	namespace, _, err := kubeconfig.Namespace()
	if err != nil {
		log.Fatal(err)
	}
	servers := kubernetes.Service("nats", kubernetes.Config(config), kubernetes.Namespace(namespace))

	bus, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(servers))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
}
