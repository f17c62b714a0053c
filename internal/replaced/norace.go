//go:build !race

package replaced

import "time"

const ttl = 5 * time.Second // a cluster may take 3 s to elect a leader, and no heartbeat gets through meanwhile
