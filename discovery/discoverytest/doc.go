// Package discoverytest tests strategies of discovery, also your own, and whoever uses strategies.
//
//	func TestMine(t *testing.T) {
//		discoverytest.Run(t, discoverytest.Subject{
//			New: func(tb testing.TB) discoverytest.Source {
//				server := startServer(tb) // a source of its own for each check
//				return discoverytest.Source{
//					Strategy: mine.New(server.URL, mine.Interval(20*time.Millisecond)),
//					Set:      server.List,
//					Failures: map[string]func(){
//						"refuses": server.Refuse,
//						"hangs":   server.Hang,
//						"garbage": server.SayGarbage,
//					},
//				}
//			},
//			Cannot: discoverytest.Part, // its lists are whole or none
//		})
//	}
//
// [Run] puts a [Strategy] through all that its contract asks: see [rolebus.Strategy]. Nothing is skipped: what a source cannot do is said
// by Cannot, and what it neither can do nor says so fails. [RunConsumer] puts whoever uses strategies through all that a strategy may do
// wrong: see [Misbehaving].
//
// The package needs nothing but the standard library and package discovery. It counts goroutines and open files: nothing else may start
// any at the same time, so Run belongs into a test that is not parallel.
package discoverytest
