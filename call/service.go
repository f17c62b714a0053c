package call

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rolebus/rolebus"
)

// How the tools of NATS see who handles what: a node that does is a service of the form of ADR-32, one in each scope.
//
//	an endpoint opens, a life begins -> run: listens -> a question -> tell: from what is so at that moment
//	none is left, the scope is left  ->      no more

// handled is an endpoint as its service sees it.
type handled interface {
	Method() string
	Stats() EndpointStats
}

// service answers for a scope's endpoints. It listens while the scope is joined and there is any.
type service struct {
	scope *rolebus.Scope
	bus   *rolebus.Bus
	self  string
	log   *slog.Logger
	list  func() []handled
	reply func(*nats.Msg) func(*nats.Msg) error
	nudge chan struct{} // endpoints came or went

	mu      sync.Mutex
	running bool
	changes int           // of the endpoints, so far
	node    *rolebus.Node // its life, as it was seen last; nil while it does not listen
	asked   []question    // that wait for their answers
	telling bool          // somebody answers them

	// run only:
	all, own []*rolebus.Subscription // for all and by name; by the id, which is of one life
	life     uint64                  // the incarnation that it listens for; 0 while it does not
	denied   uint64                  // that which the account lets hear nothing
}

func newService(s *rolebus.Scope, list func() []handled, reply func(*nats.Msg) func(*nats.Msg) error) *service {
	b := s.Bus()
	return &service{
		scope: s, bus: b, self: b.Name(), log: b.Logger().With("scope", s.Name()), list: list, reply: reply, nudge: make(chan struct{}, 1),
	}
}

// changed is called when an endpoint came or went.
func (v *service) changed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes++
	if v.running {
		select {
		case v.nudge <- struct{}{}:
		default:
		}
		return
	}
	v.running = v.bus.Go(v.run) == nil // else the Bus stops
}

const (
	// serviceLag is how much later than a change of the scope it is looked at, at the most: nobody is in a hurry here, and scopes
	// there are that change all the time.
	serviceLag = 100 * time.Millisecond
	// serviceRetry is how long it takes to try again what a connection that is down prevented.
	serviceRetry = time.Second
)

// run listens as long as there is an endpoint, in whatever life.
func (v *service) run(ctx context.Context) {
	for {
		v.mu.Lock()
		seen := v.changes
		v.mu.Unlock()
		snap, none := v.scope.Snapshot(), len(v.list()) == 0
		if none && v.rest(seen) {
			return
		}
		again := v.follow(ctx, snap, none)
		select {
		case <-ctx.Done():
			v.hush()
			return
		case <-v.nudge:
			continue
		case <-again:
		case <-snap.Superseded():
		}
		select {
		case <-ctx.Done():
		case <-v.nudge:
		case <-time.After(serviceLag):
		}
	}
}

// rest ends it, unless an endpoint came since so many changes.
func (v *service) rest(seen int) bool {
	v.hush()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.running = v.changes > seen
	return !v.running
}

// follow has it listen for the life that a snapshot shows. It returns when it is to be tried again, nil if it need not.
func (v *service) follow(ctx context.Context, snap *rolebus.Snapshot, none bool) (again <-chan time.Time) {
	if none || !snap.Joined() {
		v.hush()
		return nil
	}
	n := snap.Node(v.self)
	if n == nil || n.Incarnation() == v.denied || n.Incarnation() == v.life {
		return nil // who was buried by mistake is back at once, and meanwhile still the life that it was
	}
	if !v.bus.Connected() {
		return time.After(serviceRetry)
	}
	own := v.own
	v.own = nil
	err := v.listen(ctx, serviceOf(v.bus.Bucket(), v.scope.Name(), v.self, n.Incarnation()))
	stop(own) // after the others, so that it can be asked at any time
	if err == nil {
		v.life = n.Incarnation()
		v.mu.Lock()
		v.node = n // from now on it answers: who finds it can ask it everything
		v.mu.Unlock()
		return nil
	}
	v.hush()
	if errors.Is(err, nats.ErrPermissionViolation) {
		v.denied = n.Incarnation()
		v.log.Debug("the account does not let the tools of NATS see what is handled", "error", err)
		return nil
	}
	return time.After(serviceRetry)
}

// listen subscribes what is not subscribed yet. One subscription comes first, to find out whether the account permits it: of each
// refusal there is a line in somebody's log.
func (v *service) listen(ctx context.Context, id micro.ServiceIdentity) error {
	verbs := []micro.Verb{micro.PingVerb, micro.InfoVerb, micro.StatsVerb}
	if len(v.all) == 0 {
		before := v.bus.Conn().LastError()
		if err := v.subscribe(&v.all, verbs[0], "", ""); err != nil {
			return err
		}
		if err := v.permitted(ctx, verbs[0], before); err != nil {
			return err
		}
		for i, verb := range verbs {
			if i > 0 {
				if err := v.subscribe(&v.all, verb, "", ""); err != nil {
					return err
				}
			}
			if err := v.subscribe(&v.all, verb, id.Name, ""); err != nil {
				return err
			}
		}
	}
	for _, verb := range verbs {
		if err := v.subscribe(&v.own, verb, id.Name, id.ID); err != nil {
			return err
		}
	}
	return nil
}

func (v *service) subscribe(to *[]*rolebus.Subscription, verb micro.Verb, name, id string) error {
	subject, err := micro.ControlSubject(verb, name, id)
	if err != nil {
		return err
	}
	sub, err := v.bus.Subscribe(subject, func(msg *nats.Msg) { v.hear(question{verb, msg}) })
	if err == nil {
		*to = append(*to, sub)
	}
	return err
}

// permitted asks the server what it thinks of a subscription: a refusal comes before the answer to a ping. What the connection said
// before that is no answer.
func (v *service) permitted(ctx context.Context, verb micro.Verb, before error) error {
	subject, err := micro.ControlSubject(verb, "", "")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, serviceRetry)
	defer cancel()
	if err := v.bus.Conn().FlushWithContext(ctx); err != nil {
		return err
	}
	if refused := refusedBy(v.bus, subject); refused != before {
		return refused
	}
	return nil
}

// hush listens no more.
func (v *service) hush() {
	v.mu.Lock()
	v.node = nil
	v.mu.Unlock()
	stop(v.all)
	stop(v.own)
	v.life, v.all, v.own = 0, nil, nil
}

func stop(subs []*rolebus.Subscription) {
	for _, sub := range subs {
		sub.Stop()
	}
}

// question is one that came to the service.
type question struct {
	verb micro.Verb
	msg  *nats.Msg
}

// mostAsked is how many questions wait at the most. What comes beyond is not answered: in a flood, which would else fill the memory, nobody
// waits for all the answers.
const mostAsked = 1024

// hear takes in a question.
func (v *service) hear(q question) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.asked) >= mostAsked {
		return
	}
	v.asked = append(v.asked, q)
	if !v.telling {
		v.telling = v.bus.Go(v.answerAll) == nil // else the Bus stops
	}
}

// answerAll answers what waits.
func (v *service) answerAll(ctx context.Context) {
	for q, is := v.next(ctx); is; q, is = v.next(ctx) {
		v.answer(q.verb, q.msg)
	}
}

func (v *service) next(ctx context.Context) (q question, is bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.asked) == 0 || ctx.Err() != nil {
		v.asked, v.telling = nil, false
		return q, false
	}
	q, v.asked = v.asked[0], v.asked[1:]
	return q, true
}

// answer answers a question, if it may be answered.
func (v *service) answer(verb micro.Verb, msg *nats.Msg) {
	reply := v.reply(msg)
	if reply == nil {
		return
	}
	said := v.tell(verb)
	if said == nil {
		return
	}
	data, err := json.Marshal(said)
	if err == nil {
		err = reply(&nats.Msg{Data: data})
	}
	if err != nil { // as if it were too long
		_ = reply(&nats.Msg{Header: nats.Header{micro.ErrorCodeHeader: {"500"}, micro.ErrorHeader: {plain(err)}}})
	}
}

// tell is the answer to a question; nil if there is none, because this node handles nothing now.
func (v *service) tell(verb micro.Verb) any {
	v.mu.Lock()
	n := v.node
	v.mu.Unlock()
	snap, endpoints := v.scope.Snapshot(), v.list()
	if now := snap.Node(v.self); now != nil && n != nil {
		n = now
	}
	if n == nil || !snap.Joined() || len(endpoints) == 0 {
		return nil
	}
	id := serviceOf(v.bus.Bucket(), v.scope.Name(), v.self, n.Incarnation())
	if verb == micro.PingVerb {
		return pingOf(id)
	}
	var methods []served
	for _, e := range endpoints {
		methods = append(methods, served{e.Method(), v.scope.Address(kindOfSubject, n, e.Method()), e.Stats()})
	}
	if verb == micro.InfoVerb {
		return infoOf(id, methods)
	}
	return statsOf(id, methods)
}
