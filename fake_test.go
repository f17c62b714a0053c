package rolebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// fakeBucket is a bucket in memory that does what a server does: it orders, compares and sets, announces, and fires
// switches that nobody renewed. Its clock is the bubble's.
type fakeBucket struct {
	mu       sync.Mutex
	seq      uint64
	records  map[[2]string]fakeRecord // by scope and node
	leases   map[[2]string]*fakeLease
	links    []*fakeLink
	down     bool
	headless bool          // no leader: reads are answered, nobody listens for writes, and no switch fires
	silent   bool          // headless: and that nobody does is not even said
	mute     bool          // announcements are lost
	writes   int           // of records, by nodes
	beats    uint64        // leases that were armed
	full     bool          // nothing can be stored: writes are refused, and a switch that comes due is forgotten
	stuck    bool          // there is a leader, but what it should store is not stored
	stored   time.Time     // when anything was
	led      time.Time     // since when there is this leader; zero for ever
	fleet    string        // its identity
	ahead    time.Duration // its clock, of the bubble's
}

type fakeRecord struct {
	c          change
	generation uint64
}

type fakeLease struct {
	c       change
	timer   *time.Timer
	overdue bool
	lost    bool      // the server forgot it
	unfit   string    // it is none
	armed   uint64    // of all leases, in the order in which they were armed
	at      time.Time // when that was
	decided time.Time // overdue: when a leader decided to write it, though it could not store it; zero if none did
}

var (
	fakeSubjects = subjects{bucket: "rolebus"}
	errFakeDown  = errors.New("no server")

	// What becomes of a write while there is no leader: nobody listens for it. See explain.
	errFakeNoLeader = fmt.Errorf("write: %w: %w", errUnanswered, jetstream.ErrNoStreamResponse)
)

func newFakeBucket() *fakeBucket {
	return &fakeBucket{records: map[[2]string]fakeRecord{}, leases: map[[2]string]*fakeLease{}, fleet: newFleetID()}
}

// clock is the server's.
func (f *fakeBucket) clock() time.Time { return time.Now().Add(f.ahead) }

// step sets the server's clock: what is due by then fires.
func (f *fakeBucket) step(by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead += by
	for _, l := range f.leases {
		l.timer.Reset(l.c.due.Sub(f.clock()))
	}
}

func (f *fakeBucket) store(scope string, c change, scheduler string) uint64 {
	return f.storeAt(scope, c, scheduler, f.clock())
}

func (f *fakeBucket) storeAt(scope string, c change, scheduler string, at time.Time) uint64 {
	last := f.records[[2]string{scope, c.node}].generation
	f.seq++
	f.stored = at
	stored := c
	stored.generation = f.seq
	if c.kind == kindExpired {
		stored.late = at.Sub(c.due)
	}
	if stored.kind == kindDelta {
		stored.kind = kindState
	}
	f.records[[2]string{scope, c.node}] = fakeRecord{stored, f.seq}
	if f.mute {
		return f.seq
	}
	hdr := encode(f.fleet, scope, c).Header
	hdr.Set("Nats-Stream", fakeSubjects.stream())
	hdr.Set("Nats-Subject", fakeSubjects.record(scope, c.node))
	hdr.Set("Nats-Sequence", strconv.FormatUint(f.seq, 10))
	hdr.Set("Nats-Last-Sequence", strconv.FormatUint(last, 10))
	hdr.Set("Nats-Time-Stamp", at.UTC().Format(time.RFC3339Nano))
	if scheduler != "" {
		hdr.Set("Nats-Scheduler", scheduler)
	}
	subject := "rolebus.changes." + SubjectToken(scope) + "." + SubjectToken(c.node)
	for _, l := range f.links {
		for _, ch := range slices.Concat(l.feeds[scope], l.feeds[""]) {
			if !l.cut {
				ch <- &nats.Msg{Subject: subject, Header: hdr}
			}
		}
	}
	return f.seq
}

func (f *fakeBucket) fire(key [2]string, l *fakeLease) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leases[key] != l {
		return
	}
	if l.lost = l.lost || f.full; l.lost {
		return
	}
	if l.overdue = f.down || f.headless || f.stuck; l.overdue {
		if !f.down && !f.headless {
			l.decided = f.clock()
		}
		return
	}
	delete(f.leases, key)
	at := f.clock()
	if !l.decided.IsZero() {
		at = l.decided
	}
	f.storeAt(key[0], l.c, fakeSubjects.lease(key[0], key[1]), at)
}

// stop makes the server unreachable; start brings it back, and what is overdue fires at once. What a leader decided whose
// replicas did not follow has the time of then.
func (f *fakeBucket) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
}

// hush leaves it without a leader until start: what asks for one is not answered.
func (f *fakeBucket) hush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.headless, f.silent = true, true
}

func (f *fakeBucket) start() {
	f.mu.Lock()
	if f.headless {
		f.led = f.clock()
	}
	f.down, f.headless, f.silent, f.stuck = false, false, false, false
	overdue := map[[2]string]*fakeLease{}
	for key, l := range f.leases {
		if l.overdue {
			overdue[key] = l
		}
	}
	f.mu.Unlock()
	for key, l := range overdue {
		f.fire(key, l)
	}
}

// lose makes the server forget a switch: the lease stands, and never fires.
func (f *fakeBucket) lose(scope, node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leases[[2]string{scope, node}].lost = true
}

// wipe loses everything, as a purge does, or with reset a bucket that is made anew.
func (f *fakeBucket) wipe(reset bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.leases {
		l.timer.Stop()
	}
	clear(f.records)
	clear(f.leases)
	if reset {
		f.seq, f.fleet = 0, newFleetID()
	}
}

// fakeLink is one process's way to the bucket; it can be cut.
type fakeLink struct {
	*fakeBucket
	cut        bool
	refusePuts int                      // so many records are not stored
	damaged    bool                     // the replica that it reads from has lost all records
	deaf       bool                     // what it writes is stored, but the acknowledgement is lost
	limit      int                      // the largest record that the server takes from it; 0 for any
	onPut      func()                   // called before a record is stored
	unheard    atomic.Bool              // what it writes is stored, but no answer comes
	refusal    error                    // what the client says of each write, if anything
	slow       time.Duration            // each request takes so long
	unread     bool                     // what was written last is not told
	behind     *leases                  // a replica that lags: what it has
	outdated   map[[2]string]fakeRecord // and of records
	noMeta     bool                     // nobody carries questions to the leader
	mayNotAsk  bool                     // it may not ask the leader, and is told what a replica has
	unanswered bool                     // what it asks the leader is not answered, what it writes is
	questions  []string                 // to the leader: about nodes, by name, and "" about all
	feeds      map[string][]chan *nats.Msg
	identity   *identity // of the process
}

// look makes the process know the bucket's identity.
func (l *fakeLink) look() {
	l.mu.Lock()
	fleet := l.fleet
	l.mu.Unlock()
	l.identity.learn(fleet)
}

func (f *fakeBucket) link() *fakeLink {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &fakeLink{
		fakeBucket: f, feeds: map[string][]chan *nats.Msg{},
		identity: newIdentity("rolebus", slog.New(slog.DiscardHandler), func() {}),
	}
	l.identity.learn(f.fleet)
	f.links = append(f.links, l)
	return l
}

func (l *fakeLink) refuse(refusal error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusal = refusal
}

func (l *fakeLink) blind(blind bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unread = blind
}

func (l *fakeLink) slowDown(each time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = each
}

func (l *fakeLink) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
}

// write runs an operation that a leader can do only if its replicas follow.
func (l *fakeLink) write(ctx context.Context, op func() error) error {
	l.mu.Lock()
	stuck, refusal := l.stuck, l.refusal
	if l.full {
		refusal = errFakeDown
	}
	l.mu.Unlock()
	if refusal != nil {
		return refusal
	}
	if stuck {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.needsLeader(ctx, errFakeNoLeader, op)
}

// atLeader runs an operation that only a leader can do.
func (l *fakeLink) atLeader(ctx context.Context, op func() error) error {
	l.mu.Lock()
	unanswered := l.unanswered
	l.mu.Unlock()
	if unanswered {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.needsLeader(ctx, errFakeDown, op)
}

// needsLeader runs an operation that needs a leader, whose absence an error tells.
func (l *fakeLink) needsLeader(ctx context.Context, without error, op func() error) error {
	l.mu.Lock()
	silent := l.headless && l.silent
	l.mu.Unlock()
	if silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.do(ctx, func() error {
		if l.headless {
			return without
		}
		return op()
	})
}

// do runs an operation, if the bucket can be reached.
func (l *fakeLink) do(ctx context.Context, op func() error) error {
	l.mu.Lock()
	slow := l.slow
	l.mu.Unlock()
	if slow > 0 && !sleep(ctx, slow) {
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if l.cut || l.down {
		return errFakeDown
	}
	return op()
}

func (l *fakeLink) subscribe(ctx context.Context, scope string) (*feed, error) {
	ch := make(chan *nats.Msg, feedSize)
	err := l.do(ctx, func() error {
		l.feeds[scope] = append(l.feeds[scope], ch)
		return nil
	})
	return &feed{messages: ch, stop: func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.feeds[scope] = slices.DeleteFunc(l.feeds[scope], func(c chan *nats.Msg) bool { return c == ch })
	}}, err
}

func (l *fakeLink) newest(ctx context.Context, scope string, _ bool) (newest uint64, err error) {
	err = l.do(ctx, func() error {
		if l.unread {
			return errFakeDown
		}
		for key, r := range l.records {
			if key[0] == scope {
				newest = max(newest, r.generation)
			}
		}
		return nil
	})
	return newest, err
}

func (l *fakeLink) scopes(ctx context.Context) (names []string, err error) {
	err = l.do(ctx, func() error {
		for key, r := range l.records {
			if r.c.kind == kindState && !slices.Contains(names, key[0]) {
				names = append(names, key[0])
			}
		}
		slices.Sort(names)
		return nil
	})
	return names, err
}

func (l *fakeLink) read(ctx context.Context, scope string, from, _ uint64) (changes []change, last uint64, err error) {
	err = l.do(ctx, func() error {
		records := l.records
		if l.outdated != nil {
			records = l.outdated
		}
		for key, r := range records {
			if key[0] == scope && r.generation >= from && !l.damaged {
				changes = append(changes, r.c)
			}
		}
		slices.SortFunc(changes, func(a, b change) int { return int(a.generation) - int(b.generation) })
		if n := len(changes); n > 0 {
			last = changes[n-1].generation
		}
		return nil
	})
	return changes, last, err
}

func (l *fakeLink) get(ctx context.Context, scope, node string) (c change, generation uint64, err error) {
	err = l.do(ctx, func() error {
		c, generation = l.record(scope, node, l.outdated)
		return nil
	})
	return c, generation, err
}

func (l *fakeLink) lead(ctx context.Context, scope, node string) (c change, generation uint64, err error) {
	err = l.atLeader(ctx, func() error {
		switch {
		case l.noMeta:
			return errFakeDown
		case l.mayNotAsk:
			c, generation = l.record(scope, node, l.outdated)
		default:
			l.questions = append(l.questions, node)
			c, generation = l.record(scope, node, nil)
		}
		return nil
	})
	return c, generation, err
}

// record returns what the bucket has of a node, or a replica that lags.
func (l *fakeLink) record(scope, node string, outdated map[[2]string]fakeRecord) (change, uint64) {
	records := l.records
	if outdated != nil {
		records = outdated
	}
	r := records[[2]string{scope, node}]
	return r.c, r.generation
}

func (l *fakeLink) readLeases(ctx context.Context, scope string, _ time.Duration, _ bool) (found leases, err error) {
	err = l.do(ctx, func() error {
		found.of, found.all = map[string]armed{}, true
		if l.behind != nil {
			found = *l.behind
			return nil
		}
		newest := uint64(0)
		for key, lease := range l.leases {
			if lease.armed >= newest {
				newest, found.newest, found.began = lease.armed, lease.at, lease.armed
			}
			if key[0] == scope && !l.damaged {
				found.of[key[1]] = armed{id: lease.c.id, due: lease.c.due, generation: lease.armed, unfit: lease.unfit}
				found.last = max(found.last, lease.armed)
			}
		}
		return nil
	})
	return found, err
}

func (l *fakeLink) standing(ctx context.Context, scope string) (s standing, err error) {
	err = l.atLeader(ctx, func() error {
		l.questions = append(l.questions, "")
		s.records, s.leases = map[string]bool{}, map[string]bool{}
		for key := range l.records {
			s.records[key[1]] = s.records[key[1]] || key[0] == scope
		}
		for key := range l.leases {
			s.leases[key[1]] = s.leases[key[1]] || key[0] == scope
		}
		return nil
	})
	return s, err
}

func (l *fakeLink) newestLease(ctx context.Context, scope string) (newest uint64, err error) {
	err = l.atLeader(ctx, func() error {
		for key, lease := range l.leases {
			if key[0] == scope {
				newest = max(newest, lease.armed)
			}
		}
		return nil
	})
	return newest, err
}

func (l *fakeLink) put(ctx context.Context, scope string, c change, replaces uint64) (generation uint64, err error) {
	l.mu.Lock()
	onPut := l.onPut
	l.mu.Unlock()
	if onPut != nil {
		onPut()
	}
	err = l.write(ctx, func() error {
		if l.records[[2]string{scope, c.node}].generation != replaces {
			return errConflict
		}
		if l.refusePuts > 0 {
			l.refusePuts--
			return errFakeDown
		}
		l.writes++
		if generation = l.store(scope, c, ""); l.deaf {
			return errFakeDown
		}
		return nil
	})
	if l.unheard.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return generation, err
}

func (l *fakeLink) arm(ctx context.Context, scope string, c change, record uint64) error {
	return l.write(ctx, func() error {
		key := [2]string{scope, c.node}
		if l.records[key].generation != record {
			return errConflict
		}
		if old := l.leases[key]; old != nil {
			old.timer.Stop()
		}
		l.beats++
		lease := &fakeLease{c: c, armed: l.beats, at: l.clock()}
		lease.timer = time.AfterFunc(c.due.Sub(l.clock()), func() { l.fire(key, lease) })
		l.leases[key] = lease
		l.stored = l.clock()
		return nil
	})
}

func (l *fakeLink) bury(ctx context.Context, scope string, c change, replaces uint64) error {
	return l.write(ctx, func() error {
		key := [2]string{scope, c.node}
		if l.records[key].generation != replaces {
			return errConflict
		}
		if lease := l.leases[key]; lease != nil {
			lease.timer.Stop()
			delete(l.leases, key)
		}
		l.store(scope, c, fakeSubjects.lease(scope, c.node))
		return nil
	})
}

func (l *fakeLink) now(ctx context.Context) (now time.Time, err error) {
	if err = l.atLeader(ctx, func() error { now = l.clock(); return nil }); err == nil {
		l.look()
	}
	return now, err
}

func (l *fakeLink) pulse(ctx context.Context) (p pulse, err error) {
	err = l.do(ctx, func() error {
		if l.headless {
			return errFakeDown
		}
		p = pulse{now: l.clock(), newest: l.seq, quiet: l.clock().Sub(l.stored), leads: forEver}
		if !l.led.IsZero() {
			p.leads = time.Since(l.led)
		}
		return nil
	})
	if err == nil {
		l.look()
	}
	return p, err
}

func (l *fakeLink) ensure(ctx context.Context) error {
	err := l.atLeader(ctx, func() error { return nil })
	if err == nil {
		l.look()
	}
	return err
}

func (l *fakeLink) identify(ctx context.Context, stranger string) error {
	err := l.ensure(ctx)
	if err == nil {
		l.identity.estrange(stranger)
	}
	return err
}

func (l *fakeLink) check(scope string, c change) error {
	if size := len(printBody(scope, c)); l.limit > 0 && size > l.limit {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	return nil
}

func (l *fakeLink) decode(msg *nats.Msg) (change, error) {
	h := readHeaders(msg.Header)
	_, c, err := decodeAnnouncement(fakeSubjects, l.identity.current(), h, msg.Subject)
	c.stored = h.storedAt()
	return c, err
}

// fakeBus is a real Bus on a fake bucket.
type fakeBus struct {
	*Bus
	link *fakeLink
	set  atomic.Int64 // how far this machine's wall clock is ahead
}

const fakeTTL = 10 * time.Second

// leaseSure is for how long a node is sure of its lease after a heartbeat.
const leaseSure = fakeTTL - fakeTTL/leaseReserve

func (f *fakeBucket) bus(t *testing.T, node string, opts ...Option) *fakeBus {
	t.Helper()
	o, err := newOptions(append([]Option{WithNode(node), WithTTL(fakeTTL)}, opts...))
	require.NoError(t, err)
	link := f.link()
	b := &fakeBus{Bus: newBus(o, newNoise(o.log), link), link: link}
	b.machine.wall = func(now time.Time) time.Time { return now.Add(time.Duration(b.set.Load())) }
	link.identity = b.fleet
	link.look()
	require.NoError(t, b.open(t.Context(), false))
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// crash ends the process without a goodbye.
func (b *fakeBus) crash() {
	for _, s := range b.joined() {
		m := s.member.Load()
		m.stop()
		m.keeping.Wait()
		m.keeper.written = false
	}
	_ = b.Close()
}

// partition cuts the process off, as its client would notice, and heals it again.
func (b *fakeBus) partition(cut bool) {
	b.link.setCut(cut)
	b.mu.Lock()
	stays := slices.Collect(maps.Keys(b.stays))
	b.mu.Unlock()
	for _, m := range stays {
		if cut {
			m.disconnected()
		} else {
			m.connected()
		}
	}
}

// stopFor is an outage of the server that every client notices.
func (f *fakeBucket) outage(d time.Duration, fleet ...*fakeBus) {
	f.stop()
	for _, b := range fleet {
		b.partition(true)
		b.link.setCut(false)
	}
	time.Sleep(d)
	f.start()
	for _, b := range fleet {
		b.partition(false)
	}
}

// eventLog collects what a watcher sees, as text.
type eventLog struct {
	mu    sync.Mutex
	lines []string
}

func watchLog(ctx context.Context, s *Scope) *eventLog {
	l := &eventLog{}
	go func() {
		for ev := range s.Watch(ctx) {
			line := fmt.Sprint(ev.Kind, " ", ev.Node.Name())
			if ev.Role != "" {
				line += " " + string(ev.Role)
			}
			if ev.Reason != 0 {
				line += " " + ev.Reason.String()
			}
			l.mu.Lock()
			l.lines = append(l.lines, line)
			l.mu.Unlock()
		}
	}()
	return l
}

// take returns what was seen since it was last called.
func (l *eventLog) take() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

func names(nodes []*Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name())
	}
	return out
}

func garbage() *nats.Msg {
	return &nats.Msg{Subject: "rolebus.changes.default.a", Data: []byte("garbage")}
}
