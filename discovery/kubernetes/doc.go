// Package kubernetes finds NATS servers that run in Kubernetes: the endpoints of a service, or pods by their labels, as the API server has
// them.
//
//	bus, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(kubernetes.Service("nats")))
//
// It lists, and then watches: a change is known within a moment, not after an interval. Where watching is refused, or does not work, it lists
// again and again ([discovery.Interval]) and tries from time to time whether it may watch by now. Whatever fails takes nothing away, is told
// with its reason and what to do about it, as a [discovery.Failure], and is over as soon as the cause is; of what RBAC refuses the failure has
// the Role that is missing, to be given to kubectl apply as it is.
//
// In a pod nothing needs to be configured but RBAC: the verbs list and watch for endpointslices in the group discovery.k8s.io, or for pods;
// manifests/ has it whole. Address, certificate authority and token of the API server are those of the pod's service account; all are read
// again when they change. The token is sent over verified connections only. Elsewhere there is [Config].
//
// The module is one of its own, so that nobody else pays for k8s.io/client-go. Of that it uses package rest alone, not the informers: those
// keep what went wrong to themselves, list again after each failure as they please, and have no deadline for a list.
package kubernetes
