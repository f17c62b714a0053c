package exclusive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolebus/rolebus"
)

// Assignment is which partitions are this node's, as [Partitions] yields it. All lists ascend, and are the caller's own.
type Assignment struct {
	Partitions []int // all that are this node's
	Gained     []int // those of them that are new since the Assignment before
	Lost       []int // those that are this node's no more since then

	terms map[int]*Term
}

// Term returns this node's term of a partition that is among Partitions or Lost, with its context and token; nil of any other, and without
// [Strict]. Of one that is in Lost and in Gained, as its term ended and another one began meanwhile, it is the new one: the context of the old one is over.
func (a Assignment) Term(partition int) *Term { return a.terms[partition] }

// Partitions yields which of n partitions, numbered from 0, are this node's, and again whenever that changes: at once what is so when it is
// known first, be it nothing, and then nothing that says the same again. The members are the nodes of the scope that have a role. Each owns its
// part of the partitions, to within one; when members come or go few others move. A node that has not the role owns nothing, an observer never does: they hear when that changes. Every member must
// ask for the same n, with the same options: partitions of another n are others, and while some members ask for one n and some for another, what falls to the others is nobody's work in both. Another n for a fleet that runs
// is best another role: the new members own all of the new partitions, and the old ones, as long as there are any, all of the old.
//
// Without an option that says otherwise nothing is sent and nobody is asked: what each owns follows from the names of the members in this
// process's snapshot, in all processes and languages alike (docs/PROTOCOL.md has the rule, and how much it moves). So while two processes see different members, as for some milliseconds
// whenever one comes or goes, and for longer while one cannot be reached by some, two may own one partition, or nobody does. Where that must not be, be [Strict].
//
// The sequence waits between Assignments; of what changes while the loop's body runs it tells the sum. It begins when the scope is joined,
// and ends when ctx is over, the scope is left, or the Bus stops: [rolebus.Scope.Err] says which of them. Unless ctx is over, its last Assignment says then that all is lost.
// When a node leaves in good order ([rolebus.Bus.Shutdown], [rolebus.Bus.Leave]) its roles go first, and with them its partitions. It may be called any number of times, from
// any goroutine. It panics if the scope was not made by a Bus, n is not from 1 to 65,536 (with [Strict]: 8,192), the role cannot be one, or an option is wrong or is for campaigns only.
func Partitions(ctx context.Context, s *rolebus.Scope, role rolebus.Role, n int, opts ...Option) iter.Seq[Assignment] {
	if ctx == nil {
		panic(prefix + "nil context")
	}
	d := newDivision(s, role, n, opts)
	hooks, err := newHooks(d.hooks, s.Bus().Logger())
	if err != nil {
		panic(wrongPartitions(role, err))
	}
	if d.strict {
		return func(yield func(Assignment) bool) { d.followStrictly(ctx, hooks, yield) }
	}
	return func(yield func(Assignment) bool) { d.follow(ctx, yield) }
}

// Owner returns the node that owns one of n partitions of a role, as this process sees it, which need not have the role, or be a member at all;
// false if nobody does: because nobody has the role, the scope is not joined, or, with [Strict], as nobody holds it just now, or this process cannot reach who does. Give it the options that Partitions is given. It
// reads this process's memory, and computes who owns what when the members have changed: some milliseconds for thousands of partitions and members. It panics as
// [Partitions] does, and if there is no such partition. With Strict the first call of a process reads the claims, and waits for that for some seconds at most; and the node that is returned holds
// the partition as far as is known here, as that of [Holder].
func Owner(s *rolebus.Scope, role rolebus.Role, n, partition int, opts ...Option) (node *rolebus.Node, is bool) {
	d := newDivision(s, role, n, opts)
	if partition < 0 || partition >= n {
		panic(fmt.Sprintf("%spartition %d: from 0 to %d", prefix, partition, n-1))
	}
	snap := s.Snapshot()
	if !snap.Joined() {
		return nil, false
	}
	if d.strict {
		node = d.holder(snap, partition)
		return node, node != nil
	}
	plan := d.plan(snap)
	if i := plan.owners[partition]; i != nobody {
		return plan.nodes.At(i), true
	}
	return nil, false
}

const (
	maxPartitions = 1 << 16
	maxStrict     = 1 << 13 // each is a key of the bucket
)

// division is n partitions of a role among its members.
type division struct {
	*options
	scope *rolebus.Scope
	role  rolebus.Role
	n     int
}

func newDivision(s *rolebus.Scope, role rolebus.Role, n int, opts []Option) *division {
	o, err := newPartitionOptions(opts)
	limit := maxPartitions
	if o.strict {
		limit = maxStrict
	}
	err = errors.Join(err, checkRole(role), check(1 <= n && n <= limit, "%d partitions: from 1 to %d", n, limit))
	if err != nil {
		panic(wrongPartitions(role, err))
	}
	s.Bus() // panics if it is none
	return &division{options: o, scope: s, role: role, n: n}
}

func wrongPartitions(role rolebus.Role, err error) string {
	return fmt.Sprintf("%spartitions of role %q: %s", prefix, clip(string(role)), strings.ReplaceAll(err.Error(), prefix, ""))
}

// begin waits until the scope is joined, and returns the life that this node has in it: 0 for an observer. False if that does not come. A scope that is listed
// as joined while this node has no life in it is being joined, or left, just now.
func (d *division) begin(ctx context.Context) (stay uint64, is bool) {
	stopped := d.scope.Bus().Context()
	for ctx.Err() == nil && stopped.Err() == nil {
		snap, again := d.scope.Snapshot(), (<-chan time.Time)(nil)
		if snap.Joined() {
			stay = d.scope.Incarnation()
			if stay != 0 || errors.Is(context.Cause(d.scope.LeaseContext()), rolebus.ErrReadOnly) {
				return stay, true
			}
			again = time.After(leastPause) // nothing tells that a join is done
		}
		select {
		case <-again:
		case <-snap.Superseded():
		case <-ctx.Done():
		case <-stopped.Done():
		}
	}
	return 0, false
}

// follow yields what is this node's by the members' names, while the scope is joined.
func (d *division) follow(ctx context.Context, yield func(Assignment) bool) {
	stay, is := d.begin(ctx)
	if !is {
		return
	}
	var was []int
	first := true
	for snap := range d.scope.Snapshots(ctx) {
		if !snap.Joined() || d.scope.Incarnation() != stay {
			break // it was left, and perhaps joined again
		}
		is := d.plan(snap).of(d.scope.Bus().Name(), stay)
		if a := (Assignment{Partitions: is, Gained: beyond(is, was), Lost: beyond(was, is)}); first || len(a.Gained)+len(a.Lost) > 0 {
			if !yield(a) {
				return
			}
			was = slices.Clone(is) // the caller may have done what he likes with a's
		}
		first = false
	}
	if ctx.Err() == nil && len(was) > 0 {
		yield(Assignment{Lost: was})
	}
}

// beyond returns what is in one ascending list and not in another.
func beyond(list, other []int) (more []int) {
	for _, p := range list {
		if _, found := slices.BinarySearch(other, p); !found {
			more = append(more, p)
		}
	}
	return more
}

func checkRole(role rolebus.Role) error {
	_, err := rolebus.NewNode(rolebus.NodeState{Name: "any", Roles: []rolebus.Role{role}})
	if err != nil {
		return fmt.Errorf("%w: a role is UTF-8 of 1 to 4096 bytes", rolebus.ErrBadName)
	}
	return nil
}

// holder returns the node that holds a partition, as far as this process knows; nil if nobody does.
func (d *division) holder(snap *rolebus.Snapshot, partition int) *rolebus.Node {
	b := bookOf(d.scope)
	if !b.known(kindPartition) {
		return nil
	}
	b.mu.Lock()
	k := b.posts[d.post(partition)]
	var c claim
	if k != nil && !k.resigned {
		c = k.claim
	}
	b.mu.Unlock()
	if n := snap.Node(c.node); n != nil && n.Incarnation() == c.incarnation {
		return n
	}
	return nil
}

// post is a partition's.
func (d *division) post(partition int) post {
	name := partitionName(string(d.role), d.n, partition)
	if checkName("partition", partitionName(string(d.role), d.n, d.n-1)) != nil { // the last one's is the longest
		sum := sha256.Sum256([]byte(d.role))
		name = "sha256:" + hex.EncodeToString(sum[:]) + "/" + strconv.Itoa(d.n) + "/" + strconv.Itoa(partition)
	}
	return post{kindPartition, name}
}

func (d *division) posts() []post {
	posts := make([]post, d.n)
	for p := range posts {
		posts[p] = d.post(p)
	}
	return posts
}
