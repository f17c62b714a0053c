package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// carryOut does what the brain has decided.
func (l *loop) carryOut(o order) {
	var err error
	what := ""
	switch o.do {
	case doSave:
		l.save()
		return
	case doStart:
		l.start(o)
		return
	case doEmpty:
		l.halt()
		l.full = true
		l.empty()
		return
	case doRoutes:
		l.ends = o.routes
		l.reroute()
		return
	case doTell:
		l.c.hooks.tell(l.log, o.event)
		return
	case doRemove:
		what = fmt.Sprintf("remove the server %s from the cluster", o.server)
		if err = l.request(func(ctx context.Context) error { return l.member.remove(ctx, o.server, o.id) }); err == nil {
			l.brain.removes(o.server)
			l.c.hooks.tell(l.log, RemovedInfo{Server: o.server})
			if o.event != nil {
				l.c.hooks.tell(l.log, o.event)
			}
		}
	case doEvacuate:
		what = "hand on what the server stores"
		err = l.request(l.member.evacuate)
	case doRescue:
		what = "have the servers that are left elect a leader"
		if err = l.accompany(); err != nil {
			break
		}
		err = l.request(func(ctx context.Context) error { return l.member.rescue(ctx, o.votes) })
		if err == nil {
			l.brain.rescue.lowered = true
		}
	case doAccompany:
		what = "have the server elect itself, who is the only one left"
		err = l.accompany()
	case doStepDown:
		what = "have another server lead"
		err = l.request(l.member.stepDown)
	}
	if err != nil && l.cannot.Now(time.Now(), what+err.Error()) {
		l.log.Warn("could not "+what, "error", err)
	}
}

// save keeps what this process is to the cluster. As long as it cannot, it is tried again, and no server starts: what it stored would be nobody's
// after a restart. What could not be emptied stays that of a member until it is.
func (l *loop) save() bool {
	l.tried = time.Now()
	if !l.empty() {
		return false
	}
	b := l.brain
	err := writeIdentity(l.store.dir, b.fleet, b.size, b.identity)
	if l.unsaved = err != nil; l.unsaved {
		if l.cannot.Now(l.tried, "save "+err.Error()) {
			l.log.Warn("could not keep what this process is to the cluster", "error", err)
		}
		return false
	}
	l.kept = place{cluster: b.cluster, server: b.server}
	return true
}

// empty empties the store, if that is due, and says whether it is not any more.
func (l *loop) empty() bool {
	if !l.full {
		return true
	}
	err := emptyStore(l.store.dir)
	if l.full = err != nil; l.full && l.cannot.Now(time.Now(), "empty "+err.Error()) {
		l.log.Warn("could not empty the store", "error", err)
	}
	return !l.full
}

// saveAgain tries again what could not be written.
func (l *loop) saveAgain(now time.Time) {
	if (l.unsaved || l.full) && now.Sub(l.tried) >= saveEvery {
		l.save()
	}
}

const saveEvery = time.Second

// reroute tells the server where the ways to the others begin, if that has changed.
func (l *loop) reroute() {
	routes, err := l.ways.routes(l.ctx, l.ends, false)
	if err != nil || l.member == nil || slices.Equal(routes, l.routes) {
		return
	}
	had := l.routes
	l.routes = routes
	if !l.setRoutes() {
		l.routes = had // so it is tried again
	}
}

// setRoutes says whether the server has taken the routes.
func (l *loop) setRoutes() bool {
	err := l.member.setRoutes(l.urls(), l.auth.password())
	if err != nil && l.cannot.Now(time.Now(), err.Error()) {
		l.log.Warn("could not tell the server where the others are", "error", l.member.log.clean(err))
	}
	return err == nil
}

// renew has the server show another password on its routes when the secret is another one, and all the others' accept it. A route on which that
// changes is cut and made anew: so one after another, and only while all stand.
func (l *loop) renew(now time.Time) {
	if l.member == nil {
		return
	}
	var others [][]string
	whole := true
	for _, o := range l.brain.view.others {
		if o.hello.Cluster == l.brain.cluster && o.hello.Phase != phaseSpare && o.hello.Server != "" && (o.fresh(now) || slices.Contains(l.status.routed, o.hello.Server)) {
			others = append(others, o.hello.Accepts)
			whole = whole && slices.Contains(l.status.routed, o.hello.Server)
		}
	}
	l.auth.agree(others)
	r, any := l.auth.old()
	if !any || !whole || l.status.leader == "" || now.Sub(l.auth.renewed) < renewPause+spread(l.brain.instance, renewPause) {
		return
	}
	l.auth.renewed, l.auth.routes[r] = now, ""
	l.setRoutes()
	if _, more := l.auth.old(); !more {
		l.log.Info("the secret of this process's routes is the new one")
	}
}

// request asks the cluster's leader, which may be another just now: it is asked again with a later step.
func (l *loop) request(f func(context.Context) error) error {
	if l.member == nil {
		return errors.New("its server does not run")
	}
	ctx, cancel := context.WithTimeout(l.ctx, systemPatience)
	defer cancel()
	return f(ctx)
}

// start runs this process's server.
func (l *loop) start(o order) {
	l.halt()
	b := l.brain
	l.full = l.full || o.fresh // what a server would take for its own, had it not been possible to empty it before
	// Whether anything can be written is tried before each start: one that fails for that leaves goroutines behind (nats-server 2.15.2, filestore.go,
	// flushStreamStateLoop of each stream), and is tried again for as long as the disk is full.
	if l.full || l.unsaved || l.kept.cluster != b.cluster || l.kept.server != b.server || time.Since(l.tried) >= saveEvery {
		if !l.save() {
			l.problem = "its store directory, which cannot be written: see the log, whether the disk is full, and whose the directory is"
			return
		}
	}
	l.ownRoutes = 1
	if o.padded {
		// A server expects as many members as it has routes before it founds anything, its own included: so many there never are.
		l.ownRoutes = padding * b.size
	}
	l.auth = l.sec.routes(b.cluster)
	l.ends = o.routes
	var err error
	if l.routes, err = l.ways.routes(l.ctx, o.routes, !o.padded); err != nil {
		l.problem = fmt.Sprintf("the transport: %v", err)
		return
	}
	member, err := l.startMember()
	if notToBeHad(err) { // others are told where it is
		b.ports.another(l.cfg)
		member, err = l.startMember()
	}
	if err != nil {
		l.problem = fmt.Sprintf("its server, which does not start: %v", err)
		if l.cannot.Now(time.Now(), l.problem) {
			l.log.Warn("the server does not start", "error", err)
		}
		return
	}
	l.member, l.problem = member, ""
}

func (l *loop) startMember() (*running, error) {
	b := l.brain
	return startMember(l.cfg, place{
		cluster: b.cluster, server: b.server, dir: l.store.dir, clientPort: b.ports.Client, routePort: b.ports.Route, routes: l.urls(),
	}, l.auth)
}

const padding = 8

// halt stops the server, if it runs.
func (l *loop) halt() {
	l.alone()
	if l.member != nil {
		own := *l.own.Load() // what others hear while another server starts, which may take long
		own.Client, own.Scheme = 0, ""
		l.own.Store(&own)
		l.member.stop()
		l.member = nil
	}
	l.problem = ""
}

// urls are the routes that the server is told.
func (l *loop) urls() []*url.URL {
	var list []*url.URL
	own := route{host: l.host, port: l.brain.ports.Route}
	l.auth.keep(append([]route{own}, l.routes...))
	for range l.ownRoutes {
		list = append(list, l.auth.url(own))
	}
	for _, r := range l.routes {
		list = append(list, l.auth.url(r))
	}
	// nats-server puts what it has in order when it is told others (reload.go, imposeOrder), while its own goroutines read it: so it has it in order.
	slices.SortFunc(list, func(a, b *url.URL) int { return strings.Compare(a.String(), b.String()) })
	return list
}
