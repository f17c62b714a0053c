package embedded

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// spare waits for a cluster to join, or founds one with others.
func (b *brain) spare(now time.Time, all []*other) {
	b.proposal = ""
	if b.mayNot(all) {
		return
	}
	clusters := map[string]bool{}
	for _, o := range all {
		if o.hello.Phase.serves() {
			clusters[o.hello.Cluster] = true
		}
	}
	switch len(clusters) {
	case 0:
		b.found(now, all)
	case 1:
		b.join(now, all, sortedKeys(clusters)[0])
	default:
		b.waits = fmt.Sprintf("you: two clusters are seen, %s: stop the processes of one, or have discovery show only the other",
			strings.Join(sortedKeys(clusters), " and "))
	}
}

// join waits until it is to join the cluster that there is.
func (b *brain) join(now time.Time, all []*other, cluster string) {
	b.blanks, b.met = "", now
	if b.cluster != cluster {
		b.cluster = cluster
		b.order(order{do: doSave})
	}
	b.members = b.contacts()
	server := b.serverName()
	listed := false
	var runs []string // servers that the leader hears
	leader := b.leader(all)
	if leader != nil {
		listed, runs = lists(leader.hello.Peers, server), leader.hello.Lead.Live
	} else {
		for _, o := range all {
			listed = listed || o.hello.Phase.serves() && lists(o.hello.Peers, server)
		}
	}
	switch {
	case listed && slices.Contains(runs, server): // it has died a moment ago, or another process has this name, and is not heard here
		b.waits = fmt.Sprintf("the server %s to be gone, whose place is this process's: if it runs elsewhere, two processes have one name", server)
		return
	case listed && b.open > 0:
		b.waits = fmt.Sprintf("an answer of %d others, one of whom may have its name", b.open)
		return
	case listed: // a server of this name belongs to it, and has lost its store: it returns as what it was
	case leader == nil:
		b.waits = fmt.Sprintf("a leader of the cluster %s", cluster)
		return
	case leader.hello.Lead.Invited != b.instance:
		return
	}
	b.server, b.took = server, now
	b.become(now, phaseJoining)
	b.run(now, b.routes(now, status{}), true, true)
}

// serverName is a name that the cluster has not removed, as far as this process knows: what was removed is not taken in again for minutes.
func (b *brain) serverName() string {
	if b.life == 0 {
		return b.name
	}
	return fmt.Sprintf("%s~%d", b.name, b.life)
}

// found founds a cluster when all founders see that they are the ones.
func (b *brain) found(now time.Time, all []*other) {
	self := founder{b.name, b.nonce}
	blanks, by := []founder{self}, map[founder]*other{}
	known, forming := b.cluster, false
	for _, o := range all {
		switch {
		case o.hello.Phase == phaseFounding && slices.Contains(o.hello.Founders, self) && foundingOf(b.fleet, o.hello.Founders) == o.hello.Cluster:
			b.begin(now, all, o.hello.Founders) // this one was agreed upon, and does not see it yet
			return
		case o.hello.Phase == phaseReturns:
			known = o.hello.Cluster
		case o.hello.Phase != phaseSpare:
			forming = true
		case o.hello.Refused != "" || o.hello.Size != b.size:
		default:
			if o.hello.Cluster != "" {
				known = o.hello.Cluster
			}
			f := founder{o.hello.Name, o.hello.Nonce}
			blanks, by[f] = append(blanks, f), o
		}
	}
	slices.SortFunc(blanks, func(a, b founder) int { return strings.Compare(a.Name+" "+a.Nonce, b.Name+" "+b.Nonce) })
	blanks = slices.CompactFunc(blanks, func(a, b founder) bool { return a.Name == b.Name }) // one of them will be refused
	if seen := fmt.Sprint(blanks); seen != b.blanks {
		b.blanks, b.same = seen, now
	}
	switch {
	case b.cluster != "" && now.Sub(b.met) > b.patience:
		b.tell(ForgottenInfo{Cluster: b.cluster, After: b.patience})
		b.forgets()
		b.order(order{do: doSave})
		return
	case known != "":
		b.waits = fmt.Sprintf("a member of the cluster %s, which was there before", known)
		return
	case forming:
		b.waits = "others, who form a cluster"
		return
	case len(blanks) < b.size:
		b.waits = fmt.Sprintf("%d more of %d processes", b.size-len(blanks), b.size)
		return
	}
	b.founders = slices.Clone(blanks[:b.size])
	b.proposal = foundingOf(b.fleet, b.founders)
	switch {
	case !slices.Contains(b.founders, self):
		b.waits = "the founders: " + strings.Join(namesOf(b.founders), ", ")
		return
	case now.Sub(b.same) < b.settle:
		b.waits = "more processes to show themselves"
		return
	case b.open > 0:
		b.waits = fmt.Sprintf("an answer of %d others that discovery shows", b.open)
		return
	}
	for _, f := range b.founders {
		if o := by[f]; o != nil && o.hello.Proposal != b.proposal {
			b.waits = f.Name + " to see the same processes"
			return
		}
	}
	b.begin(now, all, b.founders)
}

// begin runs a server that knows exactly the founders: so the group begins when all of them are there, and never otherwise.
func (b *brain) begin(now time.Time, all []*other, founders []founder) {
	var routes []route
	for _, f := range founders {
		for _, o := range all {
			if o.hello.Name == f.Name && o.hello.Nonce == f.Nonce {
				routes = append(routes, o.route())
			}
		}
	}
	if len(routes) != len(founders)-1 {
		b.waits = "a founder who is not seen"
		return
	}
	b.founders, b.cluster, b.server, b.took = founders, foundingOf(b.fleet, founders), b.name, now
	b.become(now, phaseFounding)
	b.run(now, routes, false, true)
}

func (b *brain) founding(now time.Time, own status, all []*other) {
	if b.late(all) {
		b.forgets()
		b.anew(now, "others have founded a cluster meanwhile")
		return
	}
	if own.running && own.leader != "" && own.applied && now.Sub(b.awake) > returnPatience {
		b.become(now, phaseMember)
		b.tell(FormedInfo{Cluster: b.cluster, Members: namesOf(b.founders)})
		return
	}
	founded := slices.ContainsFunc(all, func(o *other) bool { return o.hello.Cluster == b.cluster && o.hello.Phase.serves() })
	if leader := b.leader(all); leader != nil {
		founded = lists(leader.hello.Peers, b.server)
	}
	if now.Sub(b.since) > foundingPatience+spread(b.instance, foundingPatience/4) && !founded { // it was, with this one, which has been frozen
		b.forgets()
		b.anew(now, "the other founders did not come")
		return
	}
	var missing []string
	for _, f := range b.founders {
		if f.Name != b.name && !slices.Contains(own.routed, f.Name) {
			missing = append(missing, f.Name)
		}
	}
	switch {
	case own.problem != "":
		b.waits = own.problem
	case len(missing) > 0:
		b.waits = "the other founders: " + strings.Join(missing, ", ")
	default:
		b.waits = "the servers to elect a leader"
	}
}

func (b *brain) joining(now time.Time, own status, all []*other) {
	if b.was == phaseFounding && b.late(all) {
		b.forgets()
		b.was = ""
		b.anew(now, "others have founded a cluster meanwhile")
		return
	}
	if own.running && own.leader != "" && own.applied {
		leader := b.view.server(b.cluster, own.leader)
		if leader == nil || lists(leader.hello.Peers, b.server) {
			b.was = phaseMember
			b.become(now, phaseMember)
			b.tell(JoinedInfo{Cluster: b.cluster})
			return
		}
	}
	if b.replaced(all) {
		b.anew(now, tookPlace)
		return
	}
	b.waits = fmt.Sprintf("the cluster %s to take it in", b.cluster)
	if own.problem != "" {
		b.waits = own.problem
	}
	listed := false
	for _, o := range all {
		listed = listed || o.hello.Cluster == b.cluster && lists(o.hello.Peers, b.server)
	}
	if leader := b.leader(all); leader != nil {
		listed = lists(leader.hello.Peers, b.server)
	} else if own.problem == "" && b.was != phaseFounding && now.Sub(b.since) < b.patience {
		listed = true // it may be: only a leader knows
	}
	if now.Sub(b.since) > joiningPatience && (!listed || own.problem != "") {
		switch {
		case b.was == phaseFounding: // a founder that came back, and the others gave up
			b.forgets()
			b.was = ""
		case !listed:
			b.life++ // as when a server of this name was removed a short while ago
		}
		b.anew(now, "the cluster did not take it in")
		return
	}
	b.follow(now, own)
}
