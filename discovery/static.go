package discovery

import (
	"context"
	"errors"
)

// Static lists addresses that do not change, each as [ParseAddress] takes it; it is libcluster's Epmd. An address that is none is an
// error of the strategy, and so is an empty list.
//
// Options: [Port], [Scheme], [Routes], [Cluster], [TLSName], and those for all.
func Static(addresses []string, opts ...Option) Strategy {
	o := collect(opts, forShape)
	list, wrong := o.parse(addresses)
	if len(addresses) == 0 {
		wrong = errors.New("no addresses: leave the strategy out if there are none")
	}
	return made("Static", "", o, func(_ context.Context, t *teller) error {
		t.list(list)
		return nil // it stays
	}, wrong, o.shapeErr())
}
