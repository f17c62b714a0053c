package rescue

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

// childVariable has a process of this test be a process of a cluster, as a parent told.
const childVariable = "ROLEBUS_TEST_RESCUE"

type told struct {
	Name, Store, Meet string
	Size              int
	TLS               []string // files, or none
}

// question is a line that a parent writes.
type question struct {
	Rescue []string // nil: the state
	Within time.Duration
}

// reply is the line that comes back, when it is known.
type reply struct {
	State *embedded.ClusterState
	Err   string
}

func child(text string) int {
	var t told
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	opts := []embedded.Option{
		embedded.WithSize(t.Size), embedded.WithName(t.Name), embedded.WithStoreDir(t.Store), embedded.WithGrace(2 * time.Second),
		embedded.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))), embedded.WithSecret("of a test's processes"),
	}
	if len(t.TLS) > 0 {
		opts = append(opts, embedded.WithClusterTLS(t.TLS[0], t.TLS[1], t.TLS[2]))
	}
	c, err := embedded.Cluster(context.Background(), discovery.Local(discovery.Directory(t.Meet)), opts...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		var r reply
		if q.Rescue != nil {
			ctx, cancel := context.WithTimeout(context.Background(), q.Within)
			if err := c.Rescue(ctx, q.Rescue...); err != nil {
				r.Err = err.Error()
			}
			cancel()
		}
		s := c.State()
		r.State = &s
		if err := out.Encode(r); err != nil {
			return 1
		}
	}
	return 0
}
