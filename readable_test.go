package rolebus

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func handmade(t *testing.T, state NodeState) *Node {
	t.Helper()
	n, err := NewNode(state)
	require.NoError(t, err)
	return n
}

// readables are a node with everything, a bare one, and a snapshot of both beside a suspect that has been stale for 1.5 s and a bit.
// It is called in a bubble, where no time passes.
func readables(t *testing.T) (full, bare *Node, snap *Snapshot) {
	t.Helper()
	full = handmade(t, NodeState{
		Name: "a", Incarnation: 7, Generation: 12, Roles: []Role{"web", `["shard",7]`}, Meta: map[string]string{"zone": "b", "host": "<h>"},
	})
	bare = handmade(t, NodeState{Name: "b"})
	made, err := NewSnapshot("s", full, bare)
	require.NoError(t, err)
	snap = made.withStale(time.Now().Add(-1500*time.Millisecond - time.Nanosecond))
	snap.suspects = []*Node{handmade(t, NodeState{Name: "c", Roles: []Role{"web"}})}
	return full, bare, snap
}

const (
	fullJSON = `{"name":"a","incarnation":7,"generation":12,"roles":["[\"shard\",7]","web"],"meta":{"host":"\u003ch\u003e","zone":"b"}}`
	bareJSON = `{"name":"b","incarnation":1,"generation":1,"roles":[]}`
	snapJSON = `{"scope":"s","joined":true,"stale":1501,"nodes":[` + fullJSON + `,` + bareJSON +
		`],"suspects":[{"name":"c","incarnation":1,"generation":1,"roles":["web"]}]}`
	goneJSON = `{"kind":"RoleRemoved","scope":"s","node":` + bareJSON + `,"role":"x","reason":"expired","generation":9}`
)

func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, bare, snap := readables(t)
		calm, err := NewSnapshot("s")
		require.NoError(t, err)
		gone := Event{Kind: RoleRemoved, Scope: "s", Node: bare, Role: "x", Reason: ReasonExpired, Generation: 9}
		for _, tc := range []struct {
			value any
			want  string
		}{
			{full, fullJSON},
			{*full, fullJSON},
			{bare, bareJSON},
			{Node{}, `{"name":"","incarnation":0,"generation":0,"roles":[]}`},
			{(*Node)(nil), `null`},
			{[]*Node{full, nil}, `[` + fullJSON + `,null]`},
			{[]Node{*bare}, `[` + bareJSON + `]`},
			{map[string]*Node{"n": bare}, `{"n":` + bareJSON + `}`},
			{map[string]Node{"n": *bare}, `{"n":` + bareJSON + `}`},
			{struct{ N Node }{*bare}, `{"N":` + bareJSON + `}`},
			{snap.AllNodes(), `[` + fullJSON + `]`},
			{&Nodes{}, `[]`},
			{Nodes{}, `[]`},
			{map[string]Nodes{"n": {}}, `{"n":[]}`},
			{full.Roles(), `["[\"shard\",7]","web"]`},
			{bare.Roles(), `[]`},
			{&Roles{}, `[]`},
			{[]Roles{{}}, `[[]]`},
			{snap, snapJSON},
			{*snap, snapJSON},
			{map[string]*Snapshot{"s": snap}, `{"s":` + snapJSON + `}`},
			{calm, `{"scope":"s","joined":true,"nodes":[]}`},
			{Snapshot{}, `{"scope":"","joined":false,"nodes":[]}`},
			{(*Snapshot)(nil), `null`},
			{gone, goneJSON},
			{&gone, goneJSON},
			{[]Event{gone}, `[` + goneJSON + `]`},
			{Event{Kind: NodeJoined, Node: bare}, `{"kind":"NodeJoined","node":` + bareJSON + `}`},
			{Event{}, `{}`},
			{(*Event)(nil), `null`},
			{map[EventKind]Reason{NodeLeft: ReasonLeft}, `{"NodeLeft":"left"}`},
			{[]any{EventKind(0), Reason(0)}, `["",""]`},
		} {
			got, err := json.Marshal(tc.value)
			require.NoError(t, err)
			require.Equal(t, tc.want, string(got), "%T", tc.value)
		}
		almost := calm.withStale(time.Now().Add(-1))
		got, err := json.Marshal(almost)
		require.NoError(t, err)
		require.Equal(t, `{"scope":"s","joined":true,"stale":1,"nodes":[]}`, string(got), "stale, if only just")
	})
}

func TestLongSnapshotsAsJSON(t *testing.T) {
	var nodes []*Node
	for i := range 3 * shortList {
		nodes = append(nodes, handmade(t, NodeState{Name: fmt.Sprintf("n%04d", i), Roles: []Role{"x", "y"}[:i%2]}))
	}
	snap, err := NewSnapshot("s", nodes...)
	require.NoError(t, err)
	raw, err := json.Marshal(snap)
	require.NoError(t, err)
	var back struct {
		Nodes []struct{ Name string }
	}
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Len(t, back.Nodes, len(nodes), "also those without roles")
	for i, n := range back.Nodes {
		require.Equal(t, nodes[i].name, n.Name)
	}
}

func TestKindsAndReasonsAsText(t *testing.T) {
	wantText(t, NodeJoined, NodeLeft, NodeBuried, RoleAdded, RoleRemoved, MetaChanged)
	wantText(t, ReasonLeft, ReasonExpired, ReasonUnreachable, ReasonSuperseded)
	wantText(t, SyncCheck, SyncRecord, SyncNewer, SyncWhole, SyncKind(0))
	wantText(t, SuspicionAnswered, SuspicionChanged, SuspicionAcquitted, SuspicionBuried, SuspicionEnd(0))
	wantText(t, EventKind(0))
	wantText(t, Reason(0))
	for _, unknown := range []any{EventKind(-1), EventKind(99), Reason(-1), Reason(99), SyncKind(99), SuspicionEnd(99)} {
		_, err := json.Marshal(unknown)
		require.ErrorContains(t, err, "is unknown")
	}
	kind, reason := NodeLeft, ReasonLeft
	require.EqualError(t, kind.UnmarshalText([]byte("nodeLeft")), `rolebus: rolebus.EventKind of text: "nodeLeft" is unknown`)
	require.EqualError(t, reason.UnmarshalText([]byte("tired")), `rolebus: rolebus.Reason of text: "tired" is unknown`)
	require.Error(t, kind.UnmarshalText([]byte("EventKind(?)")))
}

// wantText says that each of them is its text and is read back from it.
func wantText[T interface {
	comparable
	fmt.Stringer
	encoding.TextMarshaler
}](t *testing.T, values ...T,
) {
	t.Helper()
	for _, v := range values {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		var zero T
		if v != zero {
			require.Equal(t, fmt.Sprintf("%q", v.String()), string(raw))
		}
		var back T
		require.NoError(t, json.Unmarshal(raw, &back))
		require.Equal(t, v, back)
	}
}

func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, bare, snap := readables(t)
		calm, err := NewSnapshot("s")
		require.NoError(t, err)
		gone := Event{Kind: RoleRemoved, Scope: "s", Node: bare, Role: "x", Reason: ReasonExpired, Generation: 9}
		for _, tc := range []struct {
			value      any
			text, json string
		}{
			{full, `v.name=a v.incarnation=7 v.roles="[[\"shard\",7] web]"`, `{"name":"a","incarnation":7,"roles":["[\"shard\",7]","web"]}`},
			{bare, `v.name=b v.incarnation=1 v.roles=[]`, `{"name":"b","incarnation":1,"roles":[]}`},
			{*bare, `v=b`, bareJSON},
			{&Node{}, `v.name="" v.incarnation=0 v.roles=[]`, `{"name":"","incarnation":0,"roles":[]}`},
			{(*Node)(nil), `v=<nil>`, `null`},
			{snap, `v.scope=s v.nodes=2 v.suspects=1 v.stale=1.500000001s`, `{"scope":"s","nodes":2,"suspects":1,"stale":1500000001}`},
			{calm, `v.scope=s v.nodes=0`, `{"scope":"s","nodes":0}`},
			{&Snapshot{}, `v.scope="" v.nodes=0`, `{"scope":"","nodes":0}`},
			{(*Snapshot)(nil), `v=<nil>`, `null`},
			{gone, `v.kind=RoleRemoved v.scope=s v.node=b v.role=x v.reason=expired v.generation=9`,
				`{"kind":"RoleRemoved","scope":"s","node":"b","role":"x","reason":"expired","generation":9}`},
			{&gone, `v.kind=RoleRemoved v.scope=s v.node=b v.role=x v.reason=expired v.generation=9`,
				`{"kind":"RoleRemoved","scope":"s","node":"b","role":"x","reason":"expired","generation":9}`},
			{Event{Kind: NodeJoined, Node: bare}, `v.kind=NodeJoined v.node=b`, `{"kind":"NodeJoined","node":"b"}`},
			{Event{}, `v.kind=EventKind(?)`, `{"kind":"EventKind(?)"}`},
			{snap.AllNodes(), `v=[a]`, `[` + fullJSON + `]`},
			{bare.Roles(), `v=[]`, `[]`},
			{NodeLeft, `v=NodeLeft`, `"NodeLeft"`},
			{ReasonLeft, `v=left`, `"left"`},
		} {
			bareOf := &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && a.Key != "v" {
					return slog.Attr{}
				}
				return a
			}}
			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, bareOf)).Info("", "v", tc.value)
			require.Equal(t, tc.text+"\n", out.String(), "%T", tc.value)
			out.Reset()
			slog.New(slog.NewJSONHandler(&out, bareOf)).Info("", "v", tc.value)
			var logged struct{ V json.RawMessage }
			require.NoError(t, json.Unmarshal(out.Bytes(), &logged))
			require.JSONEq(t, tc.json, string(logged.V), "%T", tc.value)
		}
	})
}

func TestPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, bare, snap := readables(t)
		calm, err := NewSnapshot("s", full)
		require.NoError(t, err)
		for _, tc := range []struct {
			value any
			want  string
		}{
			{full, "a"},
			{*full, "a"},
			{(*Node)(nil), "<nil>"},
			{[]*Node{full, bare}, "[a b]"},
			{Nodes{}, "[]"},
			{snap.AllNodes(), "[a]"},
			{full.Roles(), `[["shard",7] web]`},
			{snap, `scope "s", nodes: 2, suspects: 1, stale for 1.5s`},
			{*calm, `scope "s", nodes: 1`},
			{Snapshot{}, `scope "", nodes: 0`},
			{(*Snapshot)(nil), "<nil>"},
			{Event{Kind: NodeLeft, Scope: "s", Node: bare, Reason: ReasonLeft, Generation: 3}, "NodeLeft b left"},
			{&Event{Kind: RoleAdded, Node: bare, Role: "x"}, "RoleAdded b x"},
			{Event{}, "EventKind(?)"},
			{(*Event)(nil), "<nil>"},
		} {
			require.Equal(t, tc.want+"\n", fmt.Sprintln(tc.value))
		}
	})
}

func TestAllMetaIsSorted(t *testing.T) {
	n := handmade(t, NodeState{Name: "a", Meta: map[string]string{"c": "3", "a": "1", "b": "2"}})
	var got []string
	for key, value := range n.AllMeta() {
		if got = append(got, key+value); key == "b" {
			break
		}
	}
	require.Equal(t, []string{"a1", "b2"}, got)
	for range (&Node{}).AllMeta() {
		t.Fatal("metadata of nothing")
	}
}

func TestABusAndAScopeNameThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBucket().bus(t, "api-1")
		s := b.In("jobs")
		for _, tc := range []struct {
			value any
			text  string
			log   string
		}{
			{b, "node api-1 in bucket rolebus", `{"v":{"node":"api-1","bucket":"rolebus"}}`},
			{s, "scope jobs of node api-1", `{"v":{"scope":"jobs","node":"api-1"}}`},
			{(*Bus)(nil), "no bus", `{"v":null}`},
			{new(Bus), "no bus", `{"v":null}`},
			{(*Scope)(nil), "no scope", `{"v":null}`},
			{new(Scope), "no scope", `{"v":null}`},
		} {
			require.Equal(t, tc.text, fmt.Sprint(tc.value))
			require.Equal(t, tc.text, fmt.Sprintf("%+v", tc.value))
			var out bytes.Buffer
			bare := &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && a.Key != "v" {
					return slog.Attr{}
				}
				return a
			}}
			slog.New(slog.NewJSONHandler(&out, bare)).Info("", "v", tc.value)
			require.JSONEq(t, tc.log, out.String())
		}
	})
}

func TestNodesAndSnapshotsAreReadFromJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, bare, snap := readables(t)
		for _, n := range []*Node{full, bare} {
			raw, err := json.Marshal(n)
			require.NoError(t, err)
			var back Node
			require.NoError(t, json.Unmarshal(raw, &back))
			require.Equal(t, *n, back)
		}
		raw, err := json.Marshal(snap)
		require.NoError(t, err)
		var back *Snapshot
		require.NoError(t, json.Unmarshal(raw, &back))
		again, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, snapJSON, string(again))
		require.Equal(t, full, back.Node("a"))
		require.Equal(t, snap.AllNodes(), back.Nodes("web"))
		require.Equal(t, snap.Suspects(), back.Suspects())
		require.Nil(t, back.Node("c"))
		require.Equal(t, 1501*time.Millisecond, back.Stale())

		var calm Snapshot
		require.NoError(t, json.Unmarshal([]byte(`{"scope":"s","joined":false,"nodes":[]}`), &calm))
		require.False(t, calm.Joined())
		require.Zero(t, calm.Stale())
		require.NoError(t, json.Unmarshal([]byte("null"), &calm))
		require.Equal(t, `scope "s", nodes: 0`, calm.String(), "null changes nothing")

		var ev Event
		require.NoError(t, json.Unmarshal([]byte(goneJSON), &ev))
		require.Equal(t, Event{Kind: RoleRemoved, Scope: "s", Node: bare, Role: "x", Reason: ReasonExpired, Generation: 9}, ev)

		state := NodeState{Name: "a", Incarnation: 7, Generation: 12, Roles: []Role{`["shard",7]`, "web"}, Meta: map[string]string{"zone": "b", "host": "<h>"}}
		raw, err = json.Marshal(state)
		require.NoError(t, err)
		require.JSONEq(t, fullJSON, string(raw))
	})
}

func TestWhatIsNoNodeOrSnapshotIsNotReadFromJSON(t *testing.T) {
	for _, tc := range []struct {
		into    json.Unmarshaler
		raw     string
		says    string
		badName bool
	}{
		{new(Node), `{}`, "node of JSON: bad name: node is empty", true},
		{new(Node), `[]`, "cannot unmarshal", false},
		{new(Node), `{"name":"a","roles":[""]}`, "role is empty", true},
		{new(Node), `{"name":"\ud800"}`, "half a surrogate pair", false},
		{new(Node), `{"name":"a","incarnation":9007199254740992}`, "at most", false},
		{new(Snapshot), `{}`, "snapshot of JSON: bad name: scope is empty", true},
		{new(Snapshot), `{"scope":"s","nodes":[{"name":""}]}`, "node is empty", true},
		{new(Snapshot), `{"scope":"s","nodes":[null]}`, "node 1 is nil", false},
		{new(Snapshot), `{"scope":"s","nodes":[{"name":"a"}],"suspects":[{"name":"a"}]}`, `two nodes are named "a"`, false},
		{new(Snapshot), `{"scope":"s","stale":-1}`, "stale -1", false},
		{new(Snapshot), `{"scope":"s","stale":9223372036854775807}`, "stale 9223372036854775807", false},
	} {
		t.Run(tc.raw, func(t *testing.T) {
			err := json.Unmarshal([]byte(tc.raw), tc.into)
			require.ErrorContains(t, err, tc.says)
			require.True(t, strings.HasPrefix(err.Error(), prefix), err)
			require.Equal(t, 1, strings.Count(err.Error(), prefix))
			require.Equal(t, tc.badName, errors.Is(err, ErrBadName))
			require.Zero(t, reflect.ValueOf(tc.into).Elem().Interface(), "nothing of it")
		})
	}
}
