//go:build race

package replaced

import "time"

// With the race detector a busy machine holds up a heartbeat for longer than a short TTL.
const ttl = 10 * time.Second
