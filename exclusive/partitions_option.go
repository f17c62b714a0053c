package exclusive

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What can be chosen about partitions.

type partitionOptions struct {
	strict   bool
	handover time.Duration
	meta     string   // the key of what a member shall have
	only     []string // options that were given, and are for partitions only
}

const (
	defaultHandover = 10 * time.Second
	maxHandover     = 24 * time.Hour
)

// Strict has each partition be a term, as of a name, with a context and a token ([Assignment.Term]): two never hold one at the same time, whatever
// they see. A member keeps what it holds until the balance asks for less: then that is in Lost, its [Term.Leaving] is closed, and the member's program ends what it does
// there and calls [Term.Resign], by which the partition goes to its new owner; at the latest when the time of [Handover] is over. What a member held that died is taken when the
// server says so, one TTL after its last heartbeat. Of what members hold no more moves than must, exactly.
//
// Balance can wait, work cannot: what nobody holds is taken at once, and what is held is given up only when the members have been the same for half a second, or have changed for two.
// A member takes what is its own also while the body of its loop is busy with what it was told before, and gives up at once what it was not told of yet. When the ctx of [Partitions] is over, all
// is to be given up, as if the balance asked for it; when the loop has ended, however it does, all its terms are over at once.
//
// A node that has the role and does not ask for its partitions leaves its part undone. Of two strict sequences for the same partitions in one process each
// yields what it has taken itself: together they have the node's part.
func Strict() Option {
	return option(func(o *options) { o.strict = true; o.only = append(o.only, "strict") })
}

// Handover is how long a [Strict] member's program may take to end what it does in a partition that it is to give up, before the term's context ends; 0 is not
// at all. 10 s if it is not given, at most 24 h. When a node leaves in good order it is bounded by the time that [rolebus.Bus.Shutdown] has, too.
func Handover(d time.Duration) Option {
	return option(func(o *options) {
		o.only = append(o.only, "handover")
		if o.handover = d; d < 0 || d > maxHandover {
			o.wrong("handover of %v: from 0 to %v", d, maxHandover)
		}
	})
}

// Weight has what a member owns depend on its metadata under a key ([rolebus.WithMeta]): a member with "4" owns four times what one with "1" does, to within one of the exact part, and
// one with "0" nothing; if all have "0" nobody owns anything. The number is from 0 to 10,000, and a larger one counts as that; whatever is no such number stands for 1.
func Weight(metaKey string) Option {
	return option(func(o *options) {
		o.only = append(o.only, "weight")
		if o.meta = metaKey; metaKey == "" {
			o.wrong("weight: key is empty")
		}
	})
}

// newPartitionOptions are those that [Partitions] and [Owner] take.
func newPartitionOptions(opts []Option) (*options, error) {
	o, err := collect(opts)
	for _, name := range o.campaigns {
		err = errors.Join(err, fmt.Errorf("%s is for campaigns only", name))
	}
	if slices.Contains(o.only, "handover") && !o.strict {
		err = errors.Join(err, errors.New("handover is for strict partitions only"))
	}
	return o, err
}
