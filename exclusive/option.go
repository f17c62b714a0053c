package exclusive

import (
	"errors"
	"fmt"

	"github.com/rolebus/rolebus"
)

// Option is a choice about a campaign, for [Campaign] and [Run], or about partitions, for [Partitions] and [Owner].
type Option interface{ choose(*options) }

type options struct {
	seats  int
	prefer func(*rolebus.Node) int
	among  *rolebus.Role
	hooks  []Hook
	errs   []error

	campaigns []string // options that were given, and are for campaigns only
	partitionOptions
}

type option func(*options)

func (f option) choose(o *options) { f(o) }

func (o *options) wrong(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

// maxSeats is how many seats a name may have: each is looked at by whoever waits for one.
const maxSeats = 1000

// newOptions are those that [Campaign], [Run] and [Watch] take.
func newOptions(opts []Option) (*options, error) {
	o, err := collect(opts)
	for _, name := range o.only {
		err = errors.Join(err, fmt.Errorf("%s is for partitions only", name))
	}
	return o, err
}

func collect(opts []Option) (*options, error) {
	o := &options{seats: 1, partitionOptions: partitionOptions{handover: defaultHandover}}
	for i, opt := range opts {
		if opt == nil {
			o.wrong("option %d is nil", i+1)
			continue
		}
		opt.choose(o)
	}
	return o, errors.Join(o.errs...)
}

// Seats lets so many hold the name at a time, 1 to 1,000, each in a seat of its own, with a number from 0 on ([Term.Seat]) and with tokens of
// its own. 1 if it is not given. The seats of a name are the same whatever their number is: where processes differ in it, while it is being
// changed, no more hold the name than the largest number says, and two never have one seat.
func Seats(k int) Option {
	return option(func(o *options) {
		o.campaigns = append(o.campaigns, "seats")
		if o.seats = k; k < 1 || k > maxSeats {
			o.wrong("%d seats: from 1 to %d", k, maxSeats)
		}
	})
}

// Prefer has the name go to the nodes of which a function says the largest number, if there are several candidates when it becomes free: a
// candidate lets half a second pass for each larger number that a listed node has, two at the most, and claims it then. Nodes with the role of [Among]
// count, or all nodes of the scope; whether they are candidates is not known. Whoever holds the name keeps it.
//
// The function is called with nodes of this process's snapshot, this process's own among them. It must be quick, say the same of a node in
// every process, and not be nil.
func Prefer(f func(*rolebus.Node) int) Option {
	return option(func(o *options) {
		o.campaigns = append(o.campaigns, "prefer")
		if o.prefer = f; f == nil {
			o.wrong("prefer: nil function")
		}
	})
}

// Among lets only nodes that have a role hold the name. A campaign of a node that has not waits until it has. When the node loses the role its
// term is over, with [ErrNotCandidate], and is passed on: also when the node is drained, which takes the roles first.
func Among(role rolebus.Role) Option {
	return option(func(o *options) {
		o.campaigns = append(o.campaigns, "among")
		o.among = &role
		if err := checkRole(role); err != nil {
			o.wrong("among: %w", err)
		}
	})
}

// WithHooks tells hooks when terms begin, end, and are outlived; of partitions only those that are [Strict] are terms. Nil, or a hook that has the method of no event, is an error.
func WithHooks(hooks ...Hook) Option {
	return option(func(o *options) { o.hooks = append(o.hooks, hooks...) })
}
