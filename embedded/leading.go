package embedded

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// leading is what the leader of the cluster keeps in mind: who has been dead since when, and whom it has asked to come.
type leading struct {
	since   time.Time
	dead    map[string]time.Time // servers
	away    map[string]bool      // of these, whose process was away, too; false once it was seen to be back
	leaving string               // whose turn it is to go
	vacant  time.Time            // since when a seat is free
	invited string               // instance
	asked   time.Time
	surplus time.Time
	lead    *lead           // what it says
	known   map[string]bool // servers, by id
	came    string          // the one that joined last
	removed time.Time
}

const (
	surplusPatience = 10 * time.Second
	removePause     = time.Second
)

// member keeps its place, and if it leads, the cluster whole.
func (b *brain) member(now time.Time, own status, all []*other) {
	leader := b.leader(all)
	if b.leading.lead = nil; !own.leads { // what it said as the leader is over, also if its server is not there now
		b.leading = leading{}
	}
	switch {
	case own.leads || leader != nil && lists(leader.hello.Peers, b.server):
		b.unlisted = time.Time{}
	case leader == nil: // nobody says
	case b.unlisted.IsZero():
		b.unlisted = now
	case now.Sub(b.unlisted) > unlistedPatience:
		b.life++
		b.anew(now, "the cluster removed it")
		return
	}
	if b.replaced(all) {
		b.anew(now, tookPlace)
		return
	}
	switch {
	case !own.off:
		b.off = time.Time{}
	case b.off.IsZero():
		b.off = now
	}
	switch {
	case own.off && b.going.began && (b.going.removed || !b.unlisted.IsZero()): // it was removed, as it asked
		b.left(now)
		return
	case !own.running || own.off && b.unlisted.IsZero() && now.Sub(b.off) > unlistedPatience:
		b.restart(now, own)
		return
	case own.off: // it was removed, which the leader will say; or it cannot write
		switch b.waits = switchedOff; { // but an operator need not look for a disk that is full where it is gone
		case b.going.began:
			b.waits = letsGo // as it asked
		case !b.unlisted.IsZero() || now.Sub(b.off) < fresh:
			b.waits = whetherReplaced
		}
		return
	case b.parting && b.phase == phaseMember:
		b.become(now, phaseLeaving)
	}
	if now.Sub(b.tried) > restartSettled { // not before: on a disk that is full it runs for a moment each time
		b.again = 0
	}
	if own.leader == "" {
		b.waits = b.leaderless(now, own)
		if len(own.peers) == 1 && own.has(b.server) && len(own.routed) == 0 { // all others have left: it needs nobody else's vote, but a route
			b.order(order{do: doAccompany})
		}
	}
	if own.leads {
		b.leads(now, own, all)
	}
	switch {
	case b.phase == phaseLeaving:
		b.leave(now, own, leader)
	case leader != nil && leader.hello.Lead.Surplus == b.server:
		b.become(now, phaseLeaving)
		b.going.spare = true
	}
	if b.phase != phaseSpare {
		b.follow(now, own)
	}
}

// restart runs the server again that does not run, or has switched JetStream off: at once, and then less and less often.
func (b *brain) restart(now time.Time, own status) {
	b.waits = own.problem
	if own.off {
		b.waits = switchedOff
	}
	if now.Sub(b.tried) < max(b.again, time.Second) {
		return
	}
	b.again = min(max(2*b.again, time.Second), restartMost)
	b.run(now, b.routes(now, status{}), true, false)
}

const (
	switchedOff = "its server, which has switched JetStream off, as it does when it cannot write: see its log, and whether the disk is full"
	letsGo      = "the cluster to let it go"

	whetherReplaced = "whether the cluster has replaced it"
)

// leaderless says whom a cluster without a leader waits for.
func (b *brain) leaderless(now time.Time, own status) string {
	var gone, empty []string
	for _, p := range own.peers {
		o := b.view.server(b.cluster, p.name)
		switch {
		case p.name == b.server:
		case o == nil || !o.fresh(now):
			gone = append(gone, p.name)
		case o.hello.Phase == phaseJoining: // its vote counts only if all are there
			empty = append(empty, p.name)
		}
	}
	slices.Sort(gone)
	quorum := len(own.peers)/2 + 1
	if len(gone) == 0 || len(own.peers)-len(gone)-len(empty) >= quorum {
		return "the servers to elect a leader"
	}
	text := fmt.Sprintf("%s: %d of %d servers are needed", strings.Join(gone, ", "), quorum, len(own.peers))
	if len(empty) > 0 {
		text += fmt.Sprintf(" (%s came back with nothing stored, and does not count)", strings.Join(empty, ", "))
	}
	return text + "; bring them back with their stores; if these are lost for good, a rescue by hand is needed"
}

// leads looks after the cluster: invites, removes, lets go, one at a time.
func (b *brain) leads(now time.Time, own status, all []*other) {
	l := &b.leading
	if l.dead == nil {
		l.since, l.dead, l.away = now, map[string]time.Time{}, map[string]bool{}
	}
	var live, dead []peer
	if l.known == nil {
		l.known = map[string]bool{}
		for _, p := range own.peers {
			l.known[p.id] = true
		}
	}
	for _, p := range own.peers {
		if !l.known[p.id] {
			l.known[p.id], l.came = true, p.name
		}
		if p.name == b.server || p.live {
			live = append(live, p)
			delete(l.dead, p.name)
			delete(l.away, p.name)
			continue
		}
		dead = append(dead, p)
		b.returns(now, p.name)
		if l.dead[p.name].IsZero() {
			l.dead[p.name] = now
		}
	}
	for name := range l.dead {
		if !own.has(name) {
			delete(l.dead, name)
			delete(l.away, name)
		}
	}
	l.lead = &lead{Term: own.term, Quorum: len(live) >= len(own.peers)/2+1}
	stay, next, named, began := 0, "", false, ""
	for _, p := range live {
		l.lead.Live = append(l.lead.Live, p.name)
		leaves, going := p.name == b.server && b.phase == phaseLeaving, b.going.began
		if o := b.view.server(b.cluster, p.name); p.name != b.server && o != nil {
			leaves, going = o.hello.Phase == phaseLeaving, o.hello.Going
		}
		if !leaves {
			stay++
			continue
		}
		named = named || p.name == l.leaving
		if next == "" {
			next = p.name
		}
		if going && began == "" {
			began = p.name
		}
	}
	switch {
	case began != "":
		l.leaving = began
	case named: // it does not know yet
	case now.Sub(l.since) > fresh:
		l.leaving = next
	default: // another leader may have told one to go, who has begun: that is heard until then
		l.leaving = ""
	}
	l.lead.Leaving = l.leaving
	if !l.lead.Quorum { // it will know soon that it does not lead any more
		b.waits = b.leaderless(now, own)
	} else {
		b.invite(now, own, all, stay, len(dead))
		b.surplus(now, live)
		b.remove(now, live, dead)
	}
}

// returns sees whether the process of a dead server is back: then that server is given time, too, before another takes its seat, as when a network
// is whole again, and a spare is seen before the member. It is given that once: a process may come and go for ever.
func (b *brain) returns(now time.Time, server string) {
	l := &b.leading
	o := b.view.server(b.cluster, server)
	there := o != nil && o.fresh(now)
	away, known := l.away[server]
	switch {
	case !known && !there:
		l.away[server] = true
	case away && there:
		l.away[server], l.vacant, l.invited = false, now, ""
	}
}

// invite asks a spare to join when a seat is free.
func (b *brain) invite(now time.Time, own status, all []*other, stay, dead int) {
	l := &b.leading
	if stay >= b.size {
		l.vacant, l.invited = time.Time{}, ""
		return
	}
	if l.vacant.IsZero() {
		l.vacant = now
	}
	wait := fresh // somebody has left
	switch {
	case l.lead.Leaving != "":
		wait = 0
	case dead > 0:
		wait = b.grace // it may be back soon
	}
	if now.Sub(l.vacant) < wait {
		return
	}
	first, joining := "", false
	for _, o := range all {
		switch {
		case o.hello.Cluster != b.cluster:
		case o.hello.Phase == phaseJoining:
			joining = joining || !own.has(o.hello.Server) // one that belongs to it already takes no seat that is free
		case o.hello.Phase != phaseSpare || o.hello.Refused != "" || o.hello.Size != b.size:
		case o.hello.Instance == l.invited && now.Sub(l.asked) < joiningPatience:
			joining = true // it is on its way
		case first == "" || first == l.invited: // another one, rather than one that did not come
			first = o.hello.Instance
		}
	}
	switch {
	case joining:
	case first != "":
		l.invited, l.asked = first, now
	default:
		l.invited = ""
		b.waits = fmt.Sprintf("a spare process, as %d of %d members are there", stay, b.size)
	}
	l.lead.Invited = l.invited
}

// surplus names a member that is one too many, as when one that was replaced came back in that moment.
func (b *brain) surplus(now time.Time, live []peer) {
	l := &b.leading
	if len(live) <= b.size || l.lead.Leaving != "" {
		l.surplus = time.Time{}
		return
	}
	if l.surplus.IsZero() {
		l.surplus = now
	}
	if now.Sub(l.surplus) < surplusPatience {
		return
	}
	for _, p := range live { // the last of the others
		if p.name != b.server && p.name > l.lead.Surplus {
			l.lead.Surplus = p.name
		}
	}
}

// remove takes a dead member out once another has its place.
func (b *brain) remove(now time.Time, live, dead []peer) {
	if len(live) < b.size || now.Sub(b.leading.removed) < removePause {
		return
	}
	for _, p := range dead {
		long := now.Sub(b.leading.dead[p.name])
		if o := b.view.server(b.cluster, p.name); o != nil && o.fresh(now) && long < 10*b.grace {
			continue // the process is there: its server will be
		}
		if long >= b.grace {
			b.leading.removed = now
			b.order(order{do: doRemove, server: p.name, id: p.id, event: ReplacedInfo{Dead: p.name, By: b.leading.came, Took: long}})
			return
		}
	}
}

// follow has the server know the routes of the others, and keeps where they are reached.
func (b *brain) follow(now time.Time, own status) {
	contacts, peers := b.contacts(), b.peers
	if own.leader != "" && own.has(b.server) {
		peers = namesOfPeers(own.peers)
	}
	if !slices.Equal(contacts, b.members) && len(contacts) > 0 || !slices.Equal(peers, b.peers) {
		if len(contacts) > 0 {
			b.members = contacts
		}
		b.peers = peers
		b.order(order{do: doSave})
	}
	routes := b.routes(now, own)
	if slices.Equal(routes, b.routed) || len(routes) == 0 || !own.running {
		b.differs = time.Time{}
		return
	}
	if b.differs.IsZero() {
		b.differs = now
	}
	if now.Sub(b.differs) >= b.rerouteAfter(own, routes) {
		b.routed, b.differs = routes, time.Time{}
		b.order(order{do: doRoutes, routes: routes})
	}
}

const (
	rerouteSoon = 3 * time.Second
	rerouteLate = 30 * time.Second
)

// rerouteAfter is for how long routes may be others than the server was told. Whoever joins or returns connects to all by itself, and one route is
// enough for two servers. So there is no hurry, unless one stays unconnected: and each reload that is not made disturbs nothing that runs
// (nats-server 2.15.2 replaces its options while requests read them, without a lock: stream.go, s.opts).
func (b *brain) rerouteAfter(own status, routes []route) time.Duration {
	for _, o := range b.view.others {
		r := o.route()
		if slices.Contains(routes, r) && !slices.Contains(b.routed, r) && !slices.Contains(own.routed, o.hello.Server) {
			return rerouteSoon
		}
	}
	return rerouteLate
}
