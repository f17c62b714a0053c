package rolebus

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Reading the leases of a scope. A heartbeat arms a lease anew, so in the order in which they are stored those that nobody arms
// any more come first: a page of them shows whether any is overdue. To find out who has none, all must be read.

func (k *kv) readLeases(ctx context.Context, scope string, ttl time.Duration, all bool) (l leases, err error) {
	l.of = map[string]armed{}
	newest, err := k.lastArmed(ctx, k.subj.leases())
	if err != nil || newest == nil {
		l.all = err == nil
		return l, err
	}
	if l.newest, err = newest.storedAt(); err != nil {
		return l, err
	}
	l.began = newest.generation
	subject, recent := k.subj.scopeLeases(scope), false // recent: nor is any overdue that follows
	came := 0
	take := func(m message) {
		came++
		l.last = m.generation
		node, a, err := k.decodeLease(m)
		if err != nil {
			k.noise.ignore(m.subject, err)
			return
		}
		l.of[node] = a
		at, err := m.storedAt()
		age := l.newest.Sub(at)
		recent = err == nil && age > -maxLate && age < ttl+graceOf(ttl)
	}
	for many := k.stored.Load()/2 > bulk; l.last < l.began; {
		if many && (all || l.last > 0) {
			many = false
			if _, err := k.consume(ctx, subject, 1, take); err != nil { // from the first on, which is counted faster
				return l, err
			}
			continue
		}
		came = 0
		p, err := k.nextPage(ctx, subject, l.last+1, bulk, take)
		switch {
		case err != nil:
			return l, err
		case p.last == 0:
			l.all = true
			return l, nil
		case recent && !all && came == bulk:
			return l, nil
		}
		l.last = max(l.last, p.last)
	}
	l.all = true
	return l, nil
}

func (k *kv) newestLease(ctx context.Context, scope string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, k.soon())
	defer cancel()
	last := k.lastOfLeader
	if k.single.Load() {
		last = k.lastArmed
	}
	m, err := last(ctx, k.subj.scopeLeases(scope))
	if m == nil {
		return 0, err
	}
	return m.generation, nil
}

// lastArmed returns the lease that was armed last under a subject; nil if there is none. It asks as pages are asked for, which
// takes no right of its own.
func (k *kv) lastArmed(ctx context.Context, subject string) (*message, error) {
	ask := fmt.Appendf(nil, `{"last_by_subj":%q}`, subject)
	return k.lastBy(ctx, k.subj.directGet(), ask, subject)
}

// decodeLease reads a lease, which may be none: anybody may make the server write there.
func (k *kv) decodeLease(m message) (node string, a armed, err error) {
	if err = m.headers.honest(m.added); err != nil {
		return "", a, err
	}
	scope, node, err := k.subj.parseLease(m.subject)
	if err != nil {
		return "", a, err
	}
	a.generation = m.generation
	record := k.subj.record(scope, node)
	_, c, err := decodeRecord(k.subj, m.headers, record, m.body, m.generation)
	at, isTime := strings.CutPrefix(m.headers.schedule, "@at ")
	due, bad := time.Parse(time.RFC3339, at)
	switch {
	case m.garbled:
		a.unfit = errGarbled.Error()
	case !isTime || bad != nil:
		a.unfit = "it is not for a time"
	case m.headers.target != record || m.headers.source:
		a.unfit = "it is for something else"
	case err != nil:
		a.unfit = err.Error()
	case c.kind != kindExpired:
		a.unfit = "it is not for a tombstone"
	default:
		a.id, a.due = c.id, due
	}
	return node, a, nil
}

// standing asks the stream's leader once, however many nodes there are: in a scope of very many once for every 100,000 names.
func (k *kv) standing(ctx context.Context, scope string) (s standing, err error) {
	s.records, s.leases = map[string]bool{}, map[string]bool{}
	err = k.eachSubject(ctx, k.subj.scopeAll(scope), func(subject string) {
		if _, node, err := k.subj.parseRecord(subject); err == nil {
			s.records[node] = true
		} else if _, node, err := k.subj.parseLease(subject); err == nil {
			s.leases[node] = true
		}
	})
	return s, err
}

// eachSubject hands on the subjects under which the stream's leader has something.
func (k *kv) eachSubject(ctx context.Context, filter string, take func(subject string)) error {
	api := k.subj.streamAPI("INFO")
	for offset := 0; ; {
		ask := fmt.Appendf(nil, `{"subjects_filter":%q,"offset":%d}`, filter, offset)
		var answer struct {
			Error  *jetstream.APIError
			Total  int
			Config jetstream.StreamConfig
			State  struct{ Subjects map[string]uint64 }
		}
		if err := k.askLeader(ctx, api, ask, &answer); err != nil {
			return err
		}
		if answer.Error != nil {
			return k.explain("ask the stream's leader", api, answer.Error)
		}
		k.fleet.learn(fleetIn(answer.Config))
		for subject := range answer.State.Subjects {
			take(subject)
		}
		offset += len(answer.State.Subjects)
		if len(answer.State.Subjects) == 0 || offset >= answer.Total {
			return nil
		}
	}
}

func (k *kv) askLeader(ctx context.Context, api string, ask []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	ctx, stop := unlessRefused(ctx, k.nc, api)
	defer stop()
	msg, err := k.nc.RequestWithContext(ctx, api, ask)
	if err != nil {
		return k.explain("ask the stream's leader", api, err)
	}
	if err := json.Unmarshal(msg.Data, answer); err != nil {
		return fmt.Errorf("the answer of the stream's leader: %w", err)
	}
	return nil
}
