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
// docs/CALLS.md is the guide, docs/PROTOCOL.md has the form on the wire.
package call
