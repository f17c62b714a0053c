package discovery_test

import (
	"context"
	"sync"
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/replaced"
)

// board is where a test writes which servers there are, and strategies of its own read it at once.
type board struct {
	mu    sync.Mutex
	list  []rolebus.Address
	err   error
	moved chan struct{}
}

func newBoard(list ...rolebus.Address) *board { return &board{list: list, moved: make(chan struct{})} }

func (b *board) tell(list []rolebus.Address, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list, b.err = list, err
	close(b.moved)
	b.moved = make(chan struct{})
}

func (b *board) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	for {
		b.mu.Lock()
		list, err, moved := b.list, b.err, b.moved
		b.mu.Unlock()
		if list != nil || err != nil {
			found(list, err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ofDomain has servers be known by the name that their certificates are for.
func ofDomain(list []rolebus.Address) []rolebus.Address {
	var all []rolebus.Address
	for _, a := range list {
		a.TLSName = replaced.Domain
		all = append(all, a)
	}
	return all
}

// The servers of a fleet are replaced, one after another, while it works, and it learns where they are from one strategy only. Nobody is
// reported lost, and no call of a user fails.
func TestServersAreReplaced(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]struct {
		course replaced.Course
		source func(*testing.T, *replaced.Cluster) replaced.Source
	}{
		"File":                       {replaced.Course{}, byFile},
		"DNS":                        {replaced.Course{New: true, Shape: replaced.Shape{OnePort: true}}, byDNS},
		"SRV":                        {replaced.Course{}, bySRV},
		"own, and servers that tell": {replaced.Course{New: true, Shape: replaced.Shape{Advertise: true}}, byBoard},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replaced.Run(t, by.course, by.source)
		})
	}
}
