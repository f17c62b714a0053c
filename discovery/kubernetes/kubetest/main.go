// Command kubetest is a real Kubernetes control plane for tests, in one binary that is built of Go modules alone: etcd, the API server, and
// the controllers that make EndpointSlices of pods and services, an account for each namespace, and the pods of StatefulSets and Deployments.
//
//	kubetest etcd FLAGS
//	kubetest kube-apiserver FLAGS
//	kubetest controllers URL CA-FILE TOKEN
//
// build.sh builds it. Its go.mod has what k8s.io/kubernetes needs of modules which it holds itself, each at the same release.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/cli"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/controller/statefulset"
)

const usage = "usage: kubetest etcd FLAGS | kubetest kube-apiserver FLAGS | kubetest controllers URL CA-FILE TOKEN"

func main() {
	if len(os.Args) < 2 {
		exit(usage)
	}
	role := os.Args[1]
	os.Args = os.Args[1:] // both programs take the first for their own name
	switch {
	case role == "etcd":
		etcdmain.Main(os.Args)
	case role == "kube-apiserver":
		os.Exit(cli.Run(app.NewAPIServerCommand()))
	case role == "controllers" && len(os.Args) == 4:
		if err := control(os.Args[1], os.Args[2], os.Args[3]); err != nil {
			exit(err)
		}
	default:
		exit(usage)
	}
}

func exit(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}

// control runs the controllers until a signal ends it.
func control(url, ca, token string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: url, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: ca}, QPS: -1})
	if err != nil {
		return err
	}
	all := informers.NewSharedInformerFactory(client, 0)
	core := all.Core().V1()
	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(), core.Namespaces(), client,
		serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return err
	}
	slices := endpointslice.NewController(ctx, core.Pods(), core.Services(), core.Nodes(), all.Discovery().V1().EndpointSlices(),
		100, client, 100*time.Millisecond)
	apps := all.Apps().V1()
	sets := statefulset.NewStatefulSetController(ctx, core.Pods(), apps.StatefulSets(), core.PersistentVolumeClaims(), apps.ControllerRevisions(), client)
	replicas := replicaset.NewReplicaSetController(ctx, apps.ReplicaSets(), core.Pods(), client, replicaset.BurstReplicas)
	deployments, err := deployment.NewDeploymentController(ctx, apps.Deployments(), apps.ReplicaSets(), core.Pods(), client)
	if err != nil {
		return err
	}
	all.Start(ctx.Done())
	go sets.Run(ctx, 1)
	go replicas.Run(ctx, 1)
	go deployments.Run(ctx, 1)
	go accounts.Run(ctx, 1)
	slices.Run(ctx, 2)
	return nil
}
