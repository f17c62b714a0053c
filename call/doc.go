// Package call calls a node by its role, as if it were a local function.
//
//	call.Handle(scope, "resize", func(ctx context.Context, in Image) (Image, error) { ... }) // a process that can do it
//	scope.AddRoles(ctx, "worker")
//
//	resize := call.Func[Image, Image](scope, "worker", "resize", call.Retry(2)) // any other
//	small, err := resize(ctx, large)
//
// Which node is asked is chosen from the process's own snapshot; the request goes to one life of that node, never to another, on a subject of
// its own. Unless a method is marked [Idempotent] a call of it runs at most once, and every failure says what is known.
//
// To the tools of NATS a node that handles methods is a service, one in each scope: nats service ls, info, stats, ping and request show and
// ask it, and so does whatever else knows ADR-32. Its name is <bucket>-<scope>, and each method is one of its endpoints under its own name; where
// that form does not allow a byte it has _ instead, and a few digits at the end keep names apart that would be equal otherwise. The exact
// names are in the metadata. What the form has no field for is in the data of an endpoint: refused, running and waiting calls, and since
// when it counts. An account that does not let this process subscribe to $SRV.> sees none of it, and loses nothing else.
//
// docs/CALLS.md is the guide, docs/PROTOCOL.md has the form on the wire.
package call
