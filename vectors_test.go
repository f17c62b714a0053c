package rolebus

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// vectors runs a test for each line of a file of docs/vectors.
func vectors[T any](t *testing.T, file string, test func(t *testing.T, v T)) {
	raw, err := os.ReadFile(filepath.Join("docs", "vectors", file))
	require.NoError(t, err)
	for line := range bytes.Lines(raw) {
		var head struct{ Case, Level string }
		require.NoError(t, json.Unmarshal(line, &head))
		require.Contains(t, []string{"L0", "L1", "L2", "L3"}, head.Level)
		t.Run(head.Case, func(t *testing.T) {
			var v struct {
				Case, Level string
				vector      T
			}
			dec := json.NewDecoder(bytes.NewReader(line))
			require.NoError(t, dec.Decode(&v))
			require.NoError(t, json.Unmarshal(line, &v.vector))
			test(t, v.vector)
		})
	}
}

func TestVectorsAllFilesAreRead(t *testing.T) {
	files, err := filepath.Glob("docs/vectors/*.jsonl")
	require.NoError(t, err)
	var source []byte
	for _, name := range []string{"vectors_test.go", "owner_test.go", "ring_test.go", "exclusive/assign_test.go", "exclusive/vectors_test.go"} {
		part, err := os.ReadFile(name)
		require.NoError(t, err)
		source = append(source, part...)
	}
	require.Len(t, files, 15)
	for _, file := range files {
		require.True(t, bytes.Contains(source, []byte(`"`+filepath.Base(file)+`"`)), file)
	}
}

func TestVectorsNames(t *testing.T) {
	vectors(t, "names.jsonl", func(t *testing.T, v struct {
		Name, Token *string
		Error       string
	}) {
		switch {
		case v.Error == "":
			require.NoError(t, checkName("name", *v.Name))
			require.Equal(t, *v.Token, SubjectToken(*v.Name))
			name, err := parseToken(*v.Token)
			require.NoError(t, err)
			require.Equal(t, *v.Name, name)
		case v.Name != nil:
			require.Error(t, checkName("name", *v.Name))
		default:
			_, _, err := fakeSubjects.parseRecord("$KV.rolebus.default." + *v.Token)
			require.Error(t, err)
		}
	})
}

// The rest of these is package call's: call/vectors_test.go.
func TestVectorsCalls(t *testing.T) {
	checked := 0
	vectors(t, "calls.jsonl", func(t *testing.T, v struct {
		Address *struct {
			Bucket, Scope, Node, Method string
			Incarnation                 uint64
		}
		Subject string
	}) {
		if a := v.Address; a != nil {
			require.Equal(t, v.Subject, subjects{bucket: a.Bucket}.address("call", a.Scope, a.Node, a.Incarnation, a.Method))
			checked++
		}
	})
	require.NotZero(t, checked)
}

func TestVectorsRoles(t *testing.T) {
	vectors(t, "roles.jsonl", func(t *testing.T, v struct {
		Value         json.RawMessage
		Role          Role
		Roles, Sorted []Role
		Error         string
	}) {
		switch {
		case v.Error != "":
			require.Error(t, v.Role.check())
		case v.Roles != nil:
			require.NoError(t, checkRoles(v.Roles))
			require.Equal(t, v.Sorted, append([]Role{}, roleSet(v.Roles)...))
		default:
			var value any
			require.NoError(t, json.Unmarshal(v.Value, &value))
			role, err := RoleOf(value)
			require.NoError(t, err)
			require.Equal(t, v.Role, role)
		}
	})
}

// vectorChange is a change as the vectors write it.
type vectorChange struct {
	Kind, Scope, Node                string
	Incarnation, Version, Generation uint64
	TTL, Base                        uint64
	Roles, Added, Removed            []Role
	Meta                             map[string]string
	Gone                             string
	Due, Late                        int64
	First, Read, Vouched             bool
}

func (v vectorChange) change() change {
	c := change{
		node: v.Node, id: life{v.Incarnation, v.Version}, generation: v.Generation, first: v.First,
		ttl: time.Duration(v.TTL) * time.Millisecond, base: v.Base, roles: v.Roles, added: v.Added, removed: v.Removed, meta: v.Meta,
		late: time.Duration(v.Late) * time.Millisecond,
	}
	if v.Due != 0 {
		c.due = time.UnixMilli(v.Due).UTC()
	}
	name := v.Kind
	if name == "" { // a record
		name = v.Gone
		if name == "" {
			name = "state"
		}
	}
	for kind, known := range kindNames {
		if known == name {
			c.kind = kind
		}
	}
	return trimmed(c)
}

// ruling is what a message is, or why it is none.
type ruling struct {
	Is      *vectorChange
	Ignored string
}

func (r ruling) want(t *testing.T, scope string, c change, err error) {
	t.Helper()
	require.NotEqual(t, r.Is == nil, r.Ignored == "")
	if r.Is == nil {
		require.Error(t, err)
		return
	}
	require.NoError(t, err)
	require.Equal(t, r.Is.Scope, scope)
	require.Equal(t, r.Is.change(), trimmed(c))
}

func TestVectorsRecords(t *testing.T) {
	vectors(t, "records.jsonl", func(t *testing.T, v struct {
		Key     string
		Headers nats.Header
		Body    string
		Body64  []byte
		ruling
	}) {
		body := v.Body64
		if body == nil {
			body = []byte(v.Body)
		}
		scope, c, err := decodeRecord(fakeSubjects, readHeaders(v.Headers), "$KV.rolebus."+v.Key, body, 0)
		v.want(t, scope, c, err)
	})
}

func TestVectorsAnnouncements(t *testing.T) {
	vectors(t, "announcements.jsonl", func(t *testing.T, v struct {
		Fleet, Subject string
		Headers        nats.Header
		ruling
	}) {
		scope, c, err := decodeAnnouncement(fakeSubjects, v.Fleet, readHeaders(v.Headers), v.Subject)
		v.want(t, scope, c, err)
	})
}

// A reader of announcements makes of a watch what one that knows only that makes of it, too: what it doubts is listed.
func TestVectorsWatch(t *testing.T) {
	vectors(t, "watch.jsonl", func(t *testing.T, v struct {
		Entries []struct {
			Key, Operation, Body string
			Stored               int64
		}
		Nodes []struct {
			Scope, Node string
			Roles       []Role
			Doubted     bool
		}
	}) {
		scopes := map[string]*Snapshot{}
		for i, e := range v.Entries {
			hdr := nats.Header{}
			if e.Operation != "PUT" {
				hdr.Set("KV-Operation", e.Operation)
			}
			scope, node, err := fakeSubjects.parseRecord("$KV.rolebus." + e.Key)
			require.NoError(t, err)
			if scopes[scope] == nil {
				scopes[scope] = newSnapshot(scope, "")
			}
			_, c, err := decodeRecord(fakeSubjects, readHeaders(hdr), "$KV.rolebus."+e.Key, []byte(e.Body), uint64(i+1))
			n := news{changes: []change{c}, calm: forEver, now: cacheEpoch}
			if err != nil {
				if e.Operation == "PUT" {
					continue
				}
				// What was taken away by somebody else is what a whole reading lacks.
				n.changes, n.whole, n.began = nil, true, scopes[scope].serial
				for _, other := range scopes[scope].members.all(nil) {
					if other.name != node {
						n.changes = append(n.changes, change{kind: kindState, node: other.name, id: other.id, generation: other.generation, ttl: other.ttl, roles: other.roles})
					}
				}
			} else {
				require.NoError(t, n.changes[0].measure(func() (time.Time, error) { return time.UnixMilli(e.Stored), nil }))
			}
			scopes[scope], _ = scopes[scope].apply(n)
		}
		count := 0
		for _, snap := range scopes {
			count += snap.members.len()
		}
		require.Len(t, v.Nodes, count)
		for _, want := range v.Nodes {
			n := scopes[want.Scope].named.get(want.Node)
			require.NotNil(t, n, want.Node)
			require.Equal(t, want.Roles, append([]Role{}, n.roles...))
			// Of a state that came with an older generation than a newer one it makes a doubt, too, which shows nowhere.
			if want.Doubted {
				require.NotNil(t, scopes[want.Scope].doubts.find(want.Node))
			}
		}
	})
}

func TestVectorsApply(t *testing.T) {
	type place struct{ Incarnation, Version uint64 }
	type state struct {
		Known      *vectorChange
		End, Doubt *place
		Do         []string
	}
	vectors(t, "apply.jsonl", func(t *testing.T, v struct {
		state
		Own     uint64
		TTL     int64
		Calm    *int64
		Message vectorChange
		Then    state
	}) {
		self := ""
		if v.Own > 0 {
			self = "n"
		}
		of := func(p *place) life {
			if p == nil {
				return life{}
			}
			return life{p.Incarnation, p.Version}
		}
		d := newDraft(newSnapshot("s", self), news{now: cacheEpoch})
		if v.Known != nil {
			c := v.Known.change()
			d.set(&Node{name: "n", id: c.id, generation: c.generation, ttl: c.ttl, roles: c.roles})
		}
		if v.End != nil {
			d.ends.put(d.by, "n", end{id: of(v.End)})
		}
		if v.Doubt != nil {
			d.doubts.put(d.by, "n", doubt{id: of(v.Doubt)})
		}
		before := d.finish()

		n := news{own: v.Own, calm: forEver, ttl: time.Duration(v.TTL) * time.Millisecond, now: cacheEpoch, vouched: v.Message.Vouched}
		if v.Calm != nil {
			n.calm = time.Duration(*v.Calm) * time.Millisecond
		}
		c := v.Message.change()
		c.node = "n"
		n.changes = []change{c}
		after, gap := before.apply(n)

		if known := after.named.get("n"); v.Then.Known == nil {
			require.Nil(t, known)
		} else {
			require.NotNil(t, known)
			want := v.Then.Known.change()
			require.Equal(t, want, trimmed(change{kind: kindState, id: known.id, generation: known.generation, ttl: known.ttl, roles: known.roles}))
		}
		require.Equal(t, of(v.Then.End), after.ends.get("n").id, "the end")
		require.Equal(t, of(v.Then.Doubt), after.doubts.get("n").id, "the doubt")
		do := []string{}
		if len(gap.nodes) > 0 {
			require.Equal(t, map[string]life{"n": c.id}, gap.nodes)
			do = append(do, "fetch")
		}
		if gap.whole {
			do = append(do, "read all")
		}
		if len(gap.vouch) > 0 {
			do = append(do, "ask the leader")
		}
		m := &member{keeper: &keeper{node: "n"}, lease: &lease{}}
		if v.Own > 0 && m.disputed(n, after) {
			do = append(do, "look")
		}
		require.Equal(t, v.Then.Do, do)
	})
}

// refusedStore is a bucket in which something stands where a node looks for its record.
type refusedStore struct {
	*fakeLink
	missing bool // there is no stream, until it is made
	arms    []change
}

func (s *refusedStore) lead(ctx context.Context, scope, node string) (change, uint64, error) {
	if s.missing {
		return change{}, 0, errUnanswered
	}
	return s.fakeLink.lead(ctx, scope, node)
}

func (s *refusedStore) get(ctx context.Context, scope, node string) (change, uint64, error) {
	return s.lead(ctx, scope, node)
}

func (s *refusedStore) ensure(context.Context) error {
	s.missing = false
	return nil
}

func (s *refusedStore) arm(ctx context.Context, scope string, c change, record uint64) error {
	s.arms = append(s.arms, c)
	return s.fakeLink.arm(ctx, scope, c, record)
}

// vectorFound is what stands where a node looks for its record.
type vectorFound struct {
	vectorChange
	What string
}

// vectorWrite is what a node writes then.
type vectorWrite struct {
	Incarnation, Version, Bound, Expected uint64
	Again                                 bool
}

// vectorKeeper is the writer of node n in scope s, on a bucket in which something stands.
func vectorKeeper(t *testing.T, found vectorFound) (*keeper, *refusedStore) {
	t.Helper()
	f := newFakeBucket()
	f.seq = 1000
	c := found.change()
	c.node = "n"
	switch found.What {
	case "record", "tombstone":
		f.records[[2]string{"s", "n"}] = fakeRecord{c, found.Generation}
	case "unreadable":
		f.records[[2]string{"s", "n"}] = fakeRecord{change{}, found.Generation}
	}
	st := &refusedStore{fakeLink: f.link(), missing: found.What == "no stream"}
	t.Cleanup(func() {
		for _, l := range f.leases {
			l.timer.Stop()
		}
	})
	return &keeper{
		store: st, clock: &clock{ask: st.now, machine: newMachine(time.Minute)}, trust: newTrust(time.Now(), time.Minute, time.Minute), lease: &lease{machine: newMachine(time.Minute)}, scope: "s", node: "n",
		ttl: time.Minute, want: newIntent(wanted{roles: []Role{"x"}}), nudge: make(chan struct{}, 1), moved: func() {}, fleet: st.identity.current,
		log: slog.New(slog.DiscardHandler), last: &atomic.Uint64{}, own: &atomic.Uint64{}, lives: &incarnations{}, open: func(uint64) error { return nil },
	}, st
}

// wantWrite says that one record was written in the place of what was found, as it must be.
func wantWrite(t *testing.T, want vectorWrite, st *refusedStore) {
	t.Helper()
	require.Equal(t, 1, st.writes)
	wrote := st.records[[2]string{"s", "n"}].c
	require.Equal(t, life{want.Incarnation, want.Version}, wrote.id)
	require.Equal(t, kindState, wrote.kind)
	require.Equal(t, want.Bound, st.arms[0].id.version)
	require.Equal(t, want.Incarnation, st.arms[0].id.incarnation)
	require.Equal(t, want.Again, len(st.arms) == 2)
}

func TestVectorsRefusals(t *testing.T) {
	vectors(t, "refusals.jsonl", func(t *testing.T, v struct {
		Own   struct{ Incarnation, Version, Sent, Bound uint64 }
		Found vectorFound
		Then  string
		Write vectorWrite
		Grace bool
	}) {
		synctest.Test(t, func(t *testing.T) {
			k, st := vectorKeeper(t, v.Found)
			k.id, k.tried, k.bound, k.written = life{v.Own.Incarnation, v.Own.Version}, v.Own.Sent, v.Own.Bound, true
			err := k.recover(t.Context())
			if v.Then == "stop" {
				require.ErrorIs(t, err, ErrSuperseded)
				require.Zero(t, st.writes, "nothing is written")
				require.Empty(t, st.arms)
				return
			}
			require.NoError(t, err)
			wantWrite(t, v.Write, st)
			require.Equal(t, v.Found.Generation, v.Write.Expected)
			require.Equal(t, v.Grace, k.trust.calm(time.Now()) == 0)
		})
	})
}

func TestVectorsJoins(t *testing.T) {
	vectors(t, "joins.jsonl", func(t *testing.T, v struct {
		Had   struct{ First, Newest, Here uint64 }
		Clock int64
		Found vectorFound
		Then  string
		Write vectorWrite
	}) {
		synctest.Test(t, func(t *testing.T) {
			k, st := vectorKeeper(t, v.Found)
			k.lives.first.Store(v.Had.First)
			k.lives.newest.Store(v.Had.Newest)
			k.last.Store(v.Had.Here)
			k.wall = func() time.Time { return time.UnixMilli(v.Clock) }
			err := k.tryJoin(t.Context())
			switch v.Then {
			case "write":
				require.NoError(t, err)
				wantWrite(t, v.Write, st)
			case "stop":
				require.ErrorIs(t, err, ErrSuperseded)
			case "fail":
				require.ErrorContains(t, err, "there is none")
			}
			if v.Then != "write" {
				require.Zero(t, st.writes)
				require.Empty(t, st.arms)
			}
		})
	})
}

func TestVectorsWrites(t *testing.T) {
	vectors(t, "writes.jsonl", func(t *testing.T, v struct {
		Fleet, Scope, Node string
		Incarnation        uint64
		Write              struct {
			vectorChange
			Expected uint64
		}
		Subject string
		Headers map[string]string
		Body    string
	}) {
		c := v.Write.change()
		c.node, c.id.incarnation = v.Node, v.Incarnation
		c.roles = roleSet(c.roles)
		message := recordMessage
		switch c.kind {
		case kindExpired:
			message = leaseMessage
		case kindLeft:
			message = goodbyeMessage
		}
		msg := message(fakeSubjects, v.Fleet, v.Scope, c, v.Write.Expected)
		require.Equal(t, v.Subject, msg.Subject)
		require.Equal(t, v.Body, string(msg.Data))
		headers := map[string]string{}
		for name, values := range msg.Header {
			require.Len(t, values, 1)
			headers[name] = values[0]
		}
		require.Equal(t, v.Headers, headers)
	})
}

func TestVectorsGrace(t *testing.T) {
	type moment struct{ At int64 }
	vectors(t, "grace.jsonl", func(t *testing.T, v struct {
		TTL    int64
		Events []struct {
			moment
			What                 string
			Leads, Quiet, Rhythm int64
		}
		Believed []struct {
			moment
			TTL int64
			Is  bool
		}
	}) {
		ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
		at := func(n int64) time.Time { return cacheEpoch.Add(ms(n)) }
		ttl := ms(v.TTL)
		trust := newTrust(cacheEpoch, 2*ttl/3, graceOf(ttl))
		events := v.Events
		until := func(now int64) {
			for len(events) > 0 && events[0].At <= now {
				e := events[0]
				events = events[1:]
				switch e.What {
				case "heartbeat":
					trust.succeed(at(e.At))
				case "failure":
					trust.fail()
				case "buried":
					trust.shake(at(e.At))
				case "late":
					trust.suspect(at(e.At))
				case "leader":
					trust.told(at(e.At), pulse{leads: ms(e.Leads)}, 0)
				case "silence":
					trust.told(at(e.At), pulse{leads: forEver, quiet: ms(e.Quiet)}, ms(e.Rhythm))
				default:
					t.Fatalf("nothing happens by the name %q", e.What)
				}
			}
		}
		require.True(t, slices.IsSortedFunc(v.Believed, func(a, b struct {
			moment
			TTL int64
			Is  bool
		}) int {
			return int(a.At - b.At)
		}))
		for _, b := range v.Believed {
			until(b.At)
			n := news{calm: trust.calm(at(b.At))}
			require.Equal(t, b.Is, n.believes(ms(b.TTL)), "at %d, TTL %d", b.At, b.TTL)
		}
	})
}

func TestVectorsNameEveryFieldThatTheyHave(t *testing.T) {
	readme, err := os.ReadFile("docs/vectors/README.md")
	require.NoError(t, err)
	files, err := filepath.Glob("docs/vectors/*.jsonl")
	require.NoError(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		_, section, found := strings.Cut(string(readme), "\n## "+filepath.Base(file)+"\n")
		require.True(t, found, file)
		section, _, _ = strings.Cut(section, "\n## ")
		for line := range bytes.Lines(raw) {
			var fields map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(line, &fields))
			for name := range fields {
				require.True(t, name == "case" || name == "level" || strings.Contains(section, "`"+name+"`"), "%s: %s", file, name)
			}
		}
	}
}
