package embedded

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// brain decides what a process does about its cluster. It is pure: it is told the time, what others say and how its own server is, and
// answers with orders, which cluster carries out. docs/CLUSTER.md has the algorithm in words.
//
//	RETURNING: has a store, looks around
//	    |   \ removed meanwhile: empty the store
//	    |    SPARE  (no server; a client of the members)
//	    |    |   \ invited by the leader, or listed
//	    |  FOUNDING JOINING              too long: empty the store, SPARE
//	     \   |   /
//	      MEMBER                         removed: empty the store, SPARE
//	         | Leave, or one too many
//	      LEAVING                        gone, or SPARE
type brain struct {
	settings
	identity
	instance string
	nonce    string

	since   time.Time // when the phase began
	view    view
	waits   string // for whom or what; "" for nothing
	refused string // why it may not take part
	warned  map[string]bool
	orders  []order // of this step

	// of a spare
	open     int       // how many it knows who have neither answered nor failed to: it does not found without them
	founders []founder // of the cluster that it founds, or would found
	proposal string    // that cluster
	blanks   string    // who could found, as it sees it
	same     time.Time
	met      time.Time // when it last heard a member of the cluster that it knows, or began to wait for one

	stepped time.Time // when it last decided
	awake   time.Time // since when it decides without a pause: it may have been frozen, and others heard nothing of it

	// of a member
	took     time.Time // when its server took its place
	off      time.Time // since when its server has JetStream switched off
	unlisted time.Time // since when the leader does not list it
	routed   []route   // what its server was told
	differs  time.Time // since when it would be told something else
	again    time.Duration
	tried    time.Time

	leading leading
	parting bool // it is to leave for good
	going   going
	rescue  *rescuing // nil: none was asked for
}

// settings are what a process was told.
type settings struct {
	fleet string
	size  int

	settle   time.Duration // for so long all see the same before they found
	grace    time.Duration // after so long a dead member is replaced
	patience time.Duration // for so long a process waits for a cluster that it knows before it takes part in founding another
}

// identity is what is kept in the store directory.
type identity struct {
	name    string
	phase   phase
	was     phase     // when it was read
	cluster string    // of a spare: that it knows
	server  string    // "" of a spare
	peers   []string  // servers that belonged to the cluster, as far as known
	life    int       // how many servers of this name were removed: each had another name
	members []contact // of the cluster, as far as known
	ports   ports     // that it had
}

const (
	returnPatience   = 2 * time.Second
	foundingPatience = 20 * time.Second
	joiningPatience  = 25 * time.Second
	unlistedPatience = 5 * time.Second
	routePatience    = 2 * time.Minute
	restartMost      = 30 * time.Second
	restartSettled   = time.Minute
)

func newBrain(now time.Time, s settings, id identity, instance string) *brain {
	b := &brain{settings: s, identity: id, instance: instance, nonce: randomText(), warned: map[string]bool{}}
	if b.phase != phaseSpare {
		b.phase = phaseReturns
	}
	b.since, b.met, b.same = now, now, now
	return b
}

// step decides. The orders are carried out before the next step.
func (b *brain) step(now time.Time, own status) []order {
	if now.Sub(b.stepped) > fresh && !b.stepped.IsZero() {
		b.awake = now
	}
	b.stepped = now
	b.view.forget(now)
	b.waits, b.orders = "", nil
	if b.going.gone {
		return nil
	}
	all := b.view.lately(now)
	b.foreign(all)
	switch b.phase {
	case phaseReturns:
		b.returning(now, all)
	case phaseSpare:
		b.spare(now, all)
	case phaseFounding:
		b.founding(now, own, all)
	case phaseJoining:
		b.joining(now, own, all)
	case phaseMember, phaseLeaving:
		b.member(now, own, all)
	}
	b.rescues(now, own, all)
	return b.orders
}

func (b *brain) order(o order)  { b.orders = append(b.orders, o) }
func (b *brain) tell(event any) { b.order(order{do: doTell, event: event}) }

func (b *brain) become(now time.Time, p phase) {
	b.phase, b.since, b.waits, b.refused = p, now, "", ""
	b.unlisted, b.off, b.leading, b.going = time.Time{}, time.Time{}, leading{}, going{}
	b.blanks, b.same, b.proposal = "", now, ""
	b.routed, b.differs, b.again = nil, time.Time{}, 0
	b.order(order{do: doSave})
}

// run has a server run.
func (b *brain) run(now time.Time, routes []route, padded, fresh bool) {
	b.routed, b.tried = routes, now
	b.order(order{do: doStart, routes: routes, padded: padded, fresh: fresh})
}

// returning looks whether this process may return to its cluster: whether another has its name, or it was replaced.
func (b *brain) returning(now time.Time, all []*other) {
	if b.mayNot(all) {
		b.since = now
		return
	}
	leader, others, back := b.leader(all), false, 1
	for _, o := range all {
		if o.hello.Cluster != b.cluster || o.hello.Phase == phaseSpare {
			continue
		}
		back++
		others = others || lists(o.hello.Peers, b.server)
	}
	whole := b.was == phaseMember || b.was == phaseLeaving
	switch {
	case leader != nil && !lists(leader.hello.Peers, b.server):
		if b.unlisted.IsZero() {
			b.unlisted = now
		}
		if now.Sub(b.unlisted) <= unlistedPatience { // it may be a leader that has just been replaced, and the next one lists it
			b.waits = whetherReplaced
			return
		}
		if whole {
			b.life++ // removed: that name is not taken in again
		}
		b.anew(now, "the cluster replaced it")
	case b.open > 0 && now.Sub(b.since) <= unlistedPatience: // of its store there may be a copy, with which another process is that member
		b.waits = fmt.Sprintf("an answer of %d others, one of whom may have its name", b.open)
	case leader != nil || others || whole && (back >= b.size || now.Sub(b.since) > returnPatience):
		p := phaseMember
		if !whole {
			p = phaseJoining
		}
		b.become(now, p)
		b.took = now
		b.run(now, b.routes(now, status{}), true, false)
	case !whole && now.Sub(b.since) > foundingPatience:
		if b.was == phaseFounding { // as far as anybody knows there is none that was there before
			b.forgets()
		}
		b.anew(now, "the cluster was never formed")
	default:
		b.waits = "the other members of " + b.cluster
	}
}

// leader returns who leads this process's cluster, and has a quorum; nil if nobody is known to. One that has been cut off may still think so
// for a while.
func (b *brain) leader(all []*other) (leader *other) {
	for _, o := range all {
		if o.hello.Cluster == b.cluster && o.hello.leads() && (leader == nil || o.hello.Lead.Term > leader.hello.Lead.Term) {
			leader = o
		}
	}
	return leader
}

// late says whether others are a cluster, while this process still founds another: as long as that has no member it is none, and is given up.
func (b *brain) late(all []*other) bool {
	ours := func(o *other) bool { return o.hello.Phase.serves() && o.hello.Cluster == b.cluster }
	theirs := func(o *other) bool { return o.hello.Phase.serves() && o.hello.Cluster != b.cluster }
	return slices.ContainsFunc(all, theirs) && !slices.ContainsFunc(all, ours)
}

// forgets gives up the cluster that this process knew: it is none, or none any more.
func (b *brain) forgets() { b.cluster, b.members, b.peers = "", nil, nil }

// once says whether this is the first time.
func (b *brain) once(what string) bool {
	if b.warned[what] || len(b.warned) >= mostKnown {
		return false
	}
	b.warned[what] = true
	return true
}

// anew makes a blank process of this one.
func (b *brain) anew(now time.Time, why string) {
	was := b.cluster
	b.server, b.founders, b.nonce = "", nil, randomText()
	b.order(order{do: doEmpty})
	b.become(now, phaseSpare)
	b.met = now
	b.going.gone = b.parting
	b.tell(LeftInfo{Cluster: was, Reason: why})
}

// mayNot says whether something keeps this process from taking part, and tells it once.
func (b *brain) mayNot(all []*other) bool {
	was := b.refused
	b.refused = ""
	for _, o := range all {
		switch {
		case o.hello.Name == b.name && cmp.Or(cmp.Compare(o.hello.Phase.claims(), b.phase.claims()), strings.Compare(b.instance, o.hello.Instance)) > 0:
			b.refused = fmt.Sprintf("another process has the name %q, at %s: give each its own with WithName, or leave the choice to its store directory",
				b.name, o.contact)
		case o.hello.Phase.serves() && o.hello.Size != b.size && (b.server == "" || o.hello.Cluster == b.cluster):
			b.refused = fmt.Sprintf("the cluster %s has size %d, and this process was told %d: the size is that of the founding, so give all WithSize(%d)",
				o.hello.Cluster, o.hello.Size, b.size, o.hello.Size)
		}
	}
	b.waits = b.refused
	if b.refused != "" && b.refused != was {
		b.tell(RefusedInfo{Process: b.name, Reason: b.refused})
	}
	return b.refused != ""
}

const tookPlace = "another process of its name has taken its place while it did not answer"

// replaced says whether another has this process's server: it looked before it began, and had no answer of this one, which was frozen, or cut off.
// Of two members the later one stays: it has what the cluster stored since. Who is none yet has nothing, and goes.
func (b *brain) replaced(all []*other) bool {
	for _, o := range all {
		if o.hello.Name != b.name || o.hello.Server != b.server || o.hello.Cluster != b.cluster {
			continue
		}
		age := o.heard.Sub(b.took).Milliseconds()
		if cmp.Or(cmp.Compare(b.phase.claims(), o.hello.Phase.claims()), cmp.Compare(o.hello.Took, age), strings.Compare(b.instance, o.hello.Instance)) < 0 {
			return true
		}
	}
	return false
}

// tookFor is for how long this process's server has had its place.
func (b *brain) tookFor(now time.Time) int64 {
	if b.server == "" || b.took.IsZero() {
		return 0
	}
	return max(now.Sub(b.took).Milliseconds(), 0)
}

// foreign tells, once, of others that do not fit.
func (b *brain) foreign(all []*other) {
	for _, o := range all {
		h := o.hello
		reason := ""
		switch {
		case h.Name == b.name && b.phase.serves() && h.Phase != phaseSpare:
			reason = "it has the name of this process: give each its own with WithName, or leave the choice to its store directory"
		case b.server != "" && h.Phase.serves() && h.Cluster != b.cluster:
			reason = fmt.Sprintf("it belongs to another cluster, %s, and this one is %s: they never mix; stop the processes of one, or have discovery "+
				"show each its own", h.Cluster, b.cluster)
		case h.Phase == phaseSpare && h.Size != b.size:
			reason = fmt.Sprintf("it was told size %d, and this process %d: give all the same", h.Size, b.size)
		default:
			continue
		}
		if b.once(h.Name + reason) {
			b.tell(RefusedInfo{Process: h.Name, Address: o.contact.String(), Reason: reason})
		}
	}
}

// contacts are those of all who were of this cluster when they were heard last.
func (b *brain) contacts() []contact {
	var list []contact
	for _, o := range b.view.others {
		if o.hello.Cluster == b.cluster && o.hello.Phase != phaseSpare {
			list = append(list, o.contact)
		}
	}
	slices.SortFunc(list, func(a, b contact) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// names are what the certificates of those may be for to whom routes lead.
func (b *brain) names(own string) *[]string {
	list := []string{own}
	for _, o := range b.view.others {
		list = append(list, o.contact.Host)
		if o.contact.TLSName != "" {
			list = append(list, o.contact.TLSName)
		}
	}
	return &list
}

// routes are those of the members that were heard, and of those that are connected or were until of late: of each the one where it was heard last.
// One that is silent and that the cluster does not have any more is none.
func (b *brain) routes(now time.Time, own status) []route {
	last := map[string]*other{}
	for _, o := range b.view.others {
		connected, removed := slices.Contains(own.routed, o.hello.Server), len(own.peers) > 0 && !own.has(o.hello.Server)
		if o.hello.Cluster != b.cluster || o.hello.Phase == phaseSpare || !connected && (now.Sub(o.heard) > routePatience || removed && !o.fresh(now)) {
			continue
		}
		if was := last[o.hello.Server]; was == nil || o.heard.After(was.heard) {
			last[o.hello.Server] = o
		}
	}
	var list []route
	for _, server := range sortedKeys(last) {
		list = append(list, last[server].route())
	}
	return list
}

func namesOf(founders []founder) []string {
	var names []string
	for _, f := range founders {
		names = append(names, f.Name)
	}
	return names
}
