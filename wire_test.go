package rolebus

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

var updateGolden = flag.Bool("update", false, "write the golden files of the wire form anew")

var wire = subjects{bucket: "rolebus"}

const wireFleet = "4QZJX2M6TKRA"

// Everything that is ever stored, in scope "eu.1" at generation 7.
var stored = []struct {
	name      string
	c         change // as it goes out
	announced change // as its headers tell it
	recorded  change // as its body tells it
}{
	{
		name:      "state",
		c:         change{kind: kindState, id: life{1700000000000, 1}, ttl: 15 * time.Second, roles: []Role{"[1,2]", "gateway", "größe <&>"}, meta: map[string]string{"zone": "eu-1", "build": "a\nb"}},
		announced: change{kind: kindState, id: life{1700000000000, 1}, ttl: 15 * time.Second, roles: []Role{"[1,2]", "gateway", "größe <&>"}, meta: map[string]string{"zone": "eu-1", "build": "a\nb"}},
		recorded:  change{kind: kindState, id: life{1700000000000, 1}, ttl: 15 * time.Second, roles: []Role{"[1,2]", "gateway", "größe <&>"}, meta: map[string]string{"zone": "eu-1", "build": "a\nb"}},
	},
	{
		name:      "state-without-roles",
		c:         change{kind: kindState, id: life{1, 1}, ttl: minTTL},
		announced: change{kind: kindState, id: life{1, 1}, ttl: minTTL},
		recorded:  change{kind: kindState, id: life{1, 1}, ttl: minTTL},
	},
	{
		name:      "state-with-other-metadata",
		c:         change{kind: kindState, id: life{5, 4}, ttl: maxTTL, roles: []Role{"a"}, meta: map[string]string{"draining": "yes"}},
		announced: change{kind: kindState, id: life{5, 4}, ttl: maxTTL, roles: []Role{"a"}, meta: map[string]string{"draining": "yes"}},
		recorded:  change{kind: kindState, id: life{5, 4}, ttl: maxTTL, roles: []Role{"a"}, meta: map[string]string{"draining": "yes"}},
	},
	{
		name:      "delta",
		c:         change{kind: kindDelta, id: life{5, 3}, base: 2, ttl: 1500 * time.Millisecond, roles: []Role{"a", "b"}, meta: map[string]string{"k": "v"}, added: []Role{"b"}, removed: []Role{"c", "d"}},
		announced: change{kind: kindDelta, id: life{5, 3}, base: 2, added: []Role{"b"}, removed: []Role{"c", "d"}},
		recorded:  change{kind: kindState, id: life{5, 3}, ttl: 1500 * time.Millisecond, roles: []Role{"a", "b"}, meta: map[string]string{"k": "v"}},
	},
	{
		name:      "delta-that-only-adds",
		c:         change{kind: kindDelta, id: life{5, 2}, base: 1, ttl: minTTL, roles: []Role{"a", "b", "c"}, added: []Role{"b", "c"}},
		announced: change{kind: kindDelta, id: life{5, 2}, base: 1, added: []Role{"b", "c"}},
		recorded:  change{kind: kindState, id: life{5, 2}, ttl: minTTL, roles: []Role{"a", "b", "c"}},
	},
	{
		name:      "delta-that-only-removes",
		c:         change{kind: kindDelta, id: life{5, 1004}, base: 3, ttl: minTTL, roles: []Role{}, removed: []Role{"a"}},
		announced: change{kind: kindDelta, id: life{5, 1004}, base: 3, removed: []Role{"a"}},
		recorded:  change{kind: kindState, id: life{5, 1004}, ttl: minTTL},
	},
	{
		name:      "notice",
		c:         change{kind: kindDelta, id: life{5, 4}, base: 3, ttl: minTTL, roles: []Role{"a"}, removed: longRoles(5)},
		announced: change{kind: kindNotice, id: life{5, 4}},
		recorded:  change{kind: kindState, id: life{5, 4}, ttl: minTTL, roles: []Role{"a"}},
	},
	{
		name:      "left",
		c:         change{kind: kindLeft, id: life{5, 1004}},
		announced: change{kind: kindLeft, id: life{5, 1004}},
		recorded:  change{kind: kindLeft, id: life{5, 1004}},
	},
	{
		name:      "expired",
		c:         change{kind: kindExpired, id: life{maxNumber, maxNumber}, due: storedTime.Add(-1500 * time.Millisecond)},
		announced: change{kind: kindExpired, id: life{maxNumber, maxNumber}, due: storedTime.Add(-1500 * time.Millisecond), late: 1500 * time.Millisecond},
		recorded:  change{kind: kindExpired, id: life{maxNumber, maxNumber}, due: storedTime.Add(-1500 * time.Millisecond)},
	},
}

func longRoles(n int) []Role {
	var roles []Role
	for i := range n {
		roles = append(roles, Role(strconv.Itoa(i)+strings.Repeat("x", 4000)))
	}
	return roles
}

const (
	storedScope = "eu.1"
	storedNode  = "api-1"
	storedAt    = 7
)

func storedNow() (time.Time, error) { return storedTime, nil }

var storedTime = time.Date(2025, 1, 2, 3, 4, 5, 6_000_000, time.UTC)

func storedAs(c change) change {
	c.node, c.generation = storedNode, storedAt
	return c
}

func TestWhatIsStoredIsReadBack(t *testing.T) {
	for _, tc := range stored {
		t.Run(tc.name, func(t *testing.T) {
			hdr, body := encoded(t, storedAs(tc.c))
			for name, values := range hdr {
				require.Len(t, values, 1, name)
				require.NotContains(t, values[0], "\n", "a header is one line")
				require.Equal(t, strings.TrimSpace(values[0]), values[0], "a client may trim a header")
			}
			wantDecoded(t, tc.announced, tc.recorded, hdr, body)
		})
	}
}

// The golden files are the wire form, version 1. What is read from them must be right for ever; what is written may only
// change in a way that older versions read rightly.
func TestWireFormIsGolden(t *testing.T) {
	for _, tc := range stored {
		t.Run(tc.name, func(t *testing.T) {
			hdr, body := encoded(t, storedAs(tc.c))
			file := filepath.Join("testdata", "wire", tc.name+".golden")
			if *updateGolden {
				require.NoError(t, os.WriteFile(file, []byte(headerText(hdr)+"\n"+string(body)+"\n"), 0o644))
			}
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			goldenHeaders, goldenBody := splitGolden(string(raw))
			require.Equal(t, goldenHeaders, headerText(hdr))
			require.Equal(t, goldenBody, string(body))
			wantDecoded(t, tc.announced, tc.recorded, headersOf(goldenHeaders), []byte(goldenBody))
		})
	}
	files, err := filepath.Glob(filepath.Join("testdata", "wire", "*"))
	require.NoError(t, err)
	require.Len(t, files, len(stored), "every golden file is read")
}

func wantDecoded(t *testing.T, announced, recorded change, hdr nats.Header, body []byte) {
	t.Helper()
	republished, subject := republish(hdr, storedScope, storedNode, storedAt)
	scope, c, err := decodeAnnouncement(wire, wireFleet, readHeaders(republished), subject)
	require.NoError(t, err)
	require.Equal(t, storedScope, scope)
	require.Equal(t, storedAs(announced), trimmed(c))

	hdr = maps.Clone(hdr)
	if recorded.kind.isTombstone() {
		hdr.Set("KV-Operation", "DEL")
	}
	scope, c, err = decodeRecord(wire, readHeaders(hdr), wire.record(storedScope, storedNode), body, storedAt)
	require.NoError(t, err)
	require.Equal(t, storedScope, scope)
	require.Equal(t, storedAs(recorded), trimmed(c))
	require.NoError(t, c.measure(storedNow))
	require.Equal(t, announced.late, c.late, "whoever reads the record knows as well how late it is")
}

func TestALargeHeaderBecomesANotice(t *testing.T) {
	for _, tc := range []struct {
		kind kind
		fill func(*change, Role)
	}{
		{kindState, func(c *change, last Role) { c.roles = append(longRoles(4), last) }},
		{kindState, func(c *change, last Role) { c.roles, c.meta = longRoles(4), map[string]string{"k": string(last)} }},
		{kindDelta, func(c *change, last Role) { c.added = append(longRoles(4), last) }},
		{kindDelta, func(c *change, last Role) { c.added, c.removed = longRoles(4), []Role{last} }},
	} {
		at := func(size int) string {
			c := change{kind: tc.kind, node: storedNode, id: life{1, 2}, ttl: minTTL, base: 1}
			tc.fill(&c, Role(strings.Repeat("x", size)))
			return encodeHeader(wireFleet, c)
		}
		fits := 1 + maxHeader - len(at(1))
		require.Len(t, at(fits), maxHeader)
		w, err := decodeWire(at(fits))
		require.NoError(t, err)
		c, err := w.change()
		require.NoError(t, err)
		require.Equal(t, tc.kind, c.kind)
		require.Equal(t, `{"format":1,"fleet":"`+wireFleet+`","incarnation":1,"version":2}`, at(fits+1), "a notice has no details")
	}
}

func TestForgedAnnouncementsAreRefused(t *testing.T) {
	set := func(name, value string) func(nats.Header) {
		return func(hdr nats.Header) { hdr.Set(name, value) }
	}
	drop := func(name string) func(nats.Header) {
		return func(hdr nats.Header) { hdr.Del(name) }
	}
	// edit changes our header, in which the old text stands once.
	edit := func(old, new string) func(nats.Header) {
		return func(hdr nats.Header) {
			require.Equal(t, 1, strings.Count(hdr.Get(header), old), "%s in %s", old, hdr.Get(header))
			hdr.Set(header, strings.Replace(hdr.Get(header), old, new, 1))
		}
	}
	all := func(what ...func(nats.Header)) func(nats.Header) {
		return func(hdr nats.Header) {
			for _, do := range what {
				do(hdr)
			}
		}
	}
	const (
		roles   = `"roles":["[1,2]","gateway","größe <&>"]`
		meta    = `,"meta":{"build":"a\nb","zone":"eu-1"}`
		ttl     = `"ttl":15000`
		added   = `"added":["b"]`
		removed = `,"removed":["c","d"]`
		due     = `,"due":1735787043506`
	)
	lease := wire.lease(storedScope, storedNode)
	for _, tc := range []struct {
		name   string
		of     string // the stored change that is tampered with
		tamper func(nats.Header)
		says   string
	}{
		{"published by hand", "state", drop("Nats-Stream"), "not republished by stream"},
		{"of another stream", "state", set("Nats-Stream", "KV_other"), "not republished by stream"},
		{"of another node", "state", set("Nats-Subject", wire.record(storedScope, "api-2")), "announces the record"},
		{"of another scope", "state", set("Nats-Subject", wire.record("default", storedNode)), "announces the record"},
		{"of a lease", "expired", set("Nats-Subject", lease), "announces the record"},
		{"of nothing", "state", drop("Nats-Subject"), "announces the record"},
		{"without sequence", "state", drop("Nats-Sequence"), "Nats-Sequence"},
		{"sequence 0", "state", set("Nats-Sequence", "0"), "Nats-Sequence"},
		{"sequence below 0", "state", set("Nats-Sequence", "-1"), "Nats-Sequence"},
		{"sequence too large", "state", set("Nats-Sequence", "9223372036854775809"), "Nats-Sequence"},
		{"sequence beyond 64 bits", "state", set("Nats-Sequence", "18446744073709551616"), "Nats-Sequence"},

		{"without our header", "state", drop(header), "0 headers Rolebus"},
		{"with two of ours", "state", func(hdr nats.Header) { hdr[header] = append(hdr[header], hdr.Get(header)) }, "2 headers Rolebus"},
		{"of another fleet", "state", edit(wireFleet, "4QZJX2M6TKRB"), `fleet "4QZJX2M6TKRB"`},
		{"of no fleet", "state", edit(`"fleet":"`+wireFleet+`",`, ""), `fleet ""`},
		{"empty", "state", set(header, ""), "header"},
		{"not an object", "state", set(header, "[]"), "header"},
		{"null", "state", set(header, "null"), "not an object"},
		{"truncated", "state", edit(roles+meta+"}", roles), "header"},
		{"more behind", "state", edit(meta+"}", meta+"}{}"), "header"},
		{"without format", "state", edit(`"format":1,`, ""), "wire format 0"},
		{"of a future format", "state", edit(`"format":1`, `"format":2`), "wire format 2"},
		{"format in quotes", "state", edit(`"format":1`, `"format":"1"`), `"format"`},
		{"format null", "state", edit(`"format":1`, `"format":null`), `"format": it is null`},
		{"names in another case", "state", edit(`"format":1`, `"Format":1`), "wire format 0"},
		{"incarnation 0", "state", edit(`"incarnation":1700000000000`, `"incarnation":0`), "incarnation 0"},
		{"without incarnation", "left", edit(`"incarnation":5,`, ""), "incarnation 0"},
		{"incarnation too large", "state", edit("1700000000000", "9007199254740992"), "incarnation 9007199254740992"},
		{"incarnation beyond 64 bits", "state", edit("1700000000000", "18446744073709551616"), "incarnation"},
		{"version 0", "state", edit(`"version":1`, `"version":0`), "version 0"},
		{"version too large", "expired", edit(`"version":9007199254740991`, `"version":9007199254740992`), "version 9007199254740992"},
		{"version with a sign", "state", edit(`"version":1`, `"version":+1`), "header"},
		{"version below 0", "state", edit(`"version":1`, `"version":-1`), "version"},
		{"version with a fraction", "state", edit(`"version":1`, `"version":1.5`), "version"},
		{"version with leading zeros", "state", edit(`"version":1`, `"version":01`), "header"},

		{"without TTL", "state", edit(ttl+",", ""), "TTL 0s"},
		{"TTL too short", "state", edit(ttl, `"ttl":999`), "TTL 999ms"},
		{"TTL too long", "state", edit(ttl, `"ttl":86400001`), "TTL 24h0m0.001s"},
		{"TTL beyond all", "state", edit(ttl, `"ttl":18446744073709551615`), "TTL 2562047h47m16.854s"},
		{"TTL in quotes", "state", edit(ttl, `"ttl":"15s"`), `"ttl"`},

		{"delta on 0", "delta", edit(`"base":2`, `"base":0`), `"base" is 0`},
		{"delta without base", "delta", edit(`"base":2,`, ""), "no base"},
		{"delta on itself", "delta", edit(`"base":2`, `"base":3`), "version 3 follows version 3"},
		{"delta on the future", "delta", edit(`"base":2`, `"base":4`), "version 3 follows version 4"},
		{"a base too large", "delta", all(edit(`"base":2`, `"base":9007199254740992`)), "base 9007199254740992"},
		{"roles that are not text", "state", edit(roles, `"roles":[1]`), `"roles"`},
		{"roles that are not a list", "state", edit(roles, `"roles":{"a":"b"}`), `"roles"`},
		{"roles null", "state", edit(roles, `"roles":null`), `"roles": it is null`},
		{"an empty role", "state", edit("gateway", ""), "role is empty"},
		{"a role that is nothing", "delta", edit(added, `"added":[null]`), "role is empty"},
		{"a role that is too long", "delta", edit(added, `"added":["`+strings.Repeat("a", maxRole+1)+`"]`), "at most 4096"},
		{"a role that is not UTF-8", "state", edit("gateway", "\xff"), "not UTF-8"},
		{"a role that is half a pair", "state", edit("gateway", `\ud83e`), "surrogate"},
		{"a role that is the other half", "state", edit("gateway", `\\\uDd8a`), "surrogate"},
		{"a role that is two halves the wrong way round", "state", edit("gateway", `\udd8a\ud83e`), "surrogate"},
		{"roles and a base", "state", edit(roles, `"base":1,`+roles), "more than one"},
		{"roles and gone", "state", edit(roles, roles+`,"gone":"left"`), "more than one"},
		{"a base and gone", "delta", edit(removed, removed+`,"gone":"left"`), "more than one"},
		{"added, but nothing else", "notice", edit("}", `,"added":["x"]}`), "no base"},
		{"metadata, but nothing else", "notice", edit("}", `,"meta":{"a":"b"}}`), "metadata without roles"},
		{"metadata that is not text", "state", edit(meta, `,"meta":{"a":1}`), `"meta"`},
		{"metadata without a key", "state", edit(meta, `,"meta":{"":"a"}`), "a key is empty"},
		{"metadata that is not UTF-8", "state", edit(meta, ",\"meta\":{\"a\":\"\xff\"}"), "not UTF-8"},

		{"gone for an unknown reason", "left", edit(`"left"`, `"Left"`), `unknown reason "Left"`},
		{"gone for no reason", "left", edit(`"left"`, `""`), "no reason"},
		{"left, and due", "left", edit(`"left"`, `"left"`+due), "due, but not expired"},
		{"expired without due time", "expired", edit(due, ""), "due 0"},
		{"expired with a due time that is none", "expired", edit(due, `,"due":"yesterday"`), `"due"`},
		{"expired too far away", "expired", edit(due, `,"due":9007199254740992`), "due 9007199254740992"},
		{"expired at no time", "expired", drop("Nats-Time-Stamp"), "parsing time"},
		{"expired at a time that is none", "expired", set("Nats-Time-Stamp", "now"), "parsing time"},

		{"a state written by a schedule", "state", set("Nats-Scheduler", lease), "written by the schedule"},
		{"a delta written by a schedule", "delta", set("Nats-Scheduler", lease), "written by the schedule"},
		{"a notice written by a schedule", "notice", set("Nats-Scheduler", lease), "written by the schedule"},
		{"buried by another node's lease", "expired", set("Nats-Scheduler", wire.lease(storedScope, "api-2")), "written by the schedule"},
		{"buried by a lease in another scope", "expired", set("Nats-Scheduler", wire.lease("default", storedNode)), "written by the schedule"},
		{"buried by another bucket's lease", "left", set("Nats-Scheduler", subjects{bucket: "other"}.lease(storedScope, storedNode)), "written by the schedule"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hdr, subject := republish(encodedHeaders(t, tc.of), storedScope, storedNode, storedAt)
			_, _, err := decodeAnnouncement(wire, wireFleet, readHeaders(hdr), subject)
			require.NoError(t, err, "before it is tampered with")
			tc.tamper(hdr)
			_, _, err = decodeAnnouncement(wire, wireFleet, readHeaders(hdr), subject)
			require.ErrorContains(t, err, tc.says)
			require.Less(t, len(err.Error()), 400, "an error does not repeat a long header")
		})
	}
	t.Run("on another subject", func(t *testing.T) {
		hdr, _ := republish(encodedHeaders(t, "state"), storedScope, storedNode, storedAt)
		for _, subject := range []string{"", "rolebus.changes.eu=2E1", "rolebus.changes.eu=2E1.api-2", "rolebus.changes.eu=2E1.api-1.x", wire.record(storedScope, storedNode)} {
			_, _, err := decodeAnnouncement(wire, wireFleet, readHeaders(hdr), subject)
			require.Error(t, err, subject)
		}
	})
	t.Run("tombstones of the node's own lease count", func(t *testing.T) {
		for _, of := range []string{"left", "expired"} {
			hdr, subject := republish(encodedHeaders(t, of), storedScope, storedNode, storedAt)
			hdr.Set("Nats-Scheduler", lease)
			_, c, err := decodeAnnouncement(wire, wireFleet, readHeaders(hdr), subject)
			require.NoError(t, err)
			require.Equal(t, of, c.kind.String())
		}
	})
	t.Run("what is not known is no matter", func(t *testing.T) {
		hdr, subject := republish(encodedHeaders(t, "state"), storedScope, storedNode, storedAt)
		edit(`"format":1`, `"weather":{"sky":[1,null]},"Roles":7,"format":1`)(hdr)
		hdr.Set("Rolebus-Other", "x")
		_, c, err := decodeAnnouncement(wire, wireFleet, readHeaders(hdr), subject)
		require.NoError(t, err)
		require.Equal(t, storedAs(stored[0].announced), c)
	})
}

// The server says what the bucket held of the node before.
func TestTheFirstIsTold(t *testing.T) {
	for last, first := range map[string]bool{"0": true, "3": false, "": false} {
		hdr, subject := republish(encodedHeaders(t, "state"), storedScope, storedNode, storedAt)
		hdr.Set("Nats-Last-Sequence", last)
		_, c, err := decodeAnnouncement(wire, wireFleet, readHeaders(hdr), subject)
		require.NoError(t, err)
		require.Equal(t, first, c.first, last)
	}
}

func TestLateness(t *testing.T) {
	for due, late := range map[time.Time]time.Duration{
		storedTime:                   0,
		storedTime.Add(-time.Second): time.Second,
		storedTime.Add(time.Second):  -time.Second, // before it was due: no harm
		time.UnixMilli(1):            storedTime.Sub(time.UnixMilli(1)),
		time.UnixMilli(maxNumber):    math.MinInt64,
	} {
		c := change{kind: kindExpired, due: due}
		require.NoError(t, c.measure(storedNow))
		require.Equal(t, late, c.late, due)
	}
	for _, other := range []kind{kindState, kindDelta, kindNotice, kindLeft} {
		c := change{kind: other}
		require.NoError(t, c.measure(nil))
		require.Zero(t, c.late)
	}
}

func TestForgedRecordsAreRefused(t *testing.T) {
	const (
		state   = `{"format":1,"scope":"eu.1","node":"api-1","incarnation":5,"version":2,"ttl":2000,"roles":["b","a","b"]}`
		expired = `{"format":1,"scope":"eu.1","node":"api-1","incarnation":5,"version":2,"gone":"expired","due":1735787044506}`
	)
	deleted, plainly := nats.Header{"KV-Operation": {"DEL"}}, nats.Header{}
	lease := wire.lease(storedScope, storedNode)
	subject := wire.record(storedScope, storedNode)
	edit := func(body, old, new string) string {
		require.Equal(t, 1, strings.Count(body, old), old)
		return strings.Replace(body, old, new, 1)
	}

	_, c, err := decodeRecord(wire, readHeaders(plainly), subject, []byte(state), 3)
	require.NoError(t, err)
	require.Equal(t, change{kind: kindState, node: storedNode, id: life{5, 2}, generation: 3, ttl: 2 * time.Second, roles: []Role{"a", "b"}}, c)
	_, c, err = decodeRecord(wire, readHeaders(nats.Header{"KV-Operation": {"DEL"}, "Nats-Scheduler": {lease}}), subject, []byte(expired), 3)
	require.NoError(t, err)
	require.Equal(t, change{kind: kindExpired, node: storedNode, id: life{5, 2}, generation: 3, due: time.UnixMilli(1735787044506).UTC()}, c)

	for _, tc := range []struct {
		name string
		hdr  nats.Header
		body string
		says string
	}{
		{"empty", plainly, "", "body"},
		{"truncated", plainly, state[:len(state)-1], "body"},
		{"more behind", plainly, state + "{}", "body"},
		{"not an object", plainly, "[]", "body"},
		{"nothing", plainly, "null", "body: not an object"},
		{"a delta", plainly, edit(state, `"ttl":2000,"roles":["b","a","b"]`, `"base":1,"added":["a"]`), "not the whole state"},
		{"a notice", plainly, edit(state, `,"ttl":2000,"roles":["b","a","b"]`, ""), "not the whole state"},
		{"without TTL", plainly, edit(state, `"ttl":2000,`, ""), "TTL 0s"},
		{"expired without due time", deleted, edit(expired, `,"due":1735787044506`, ""), "due 0"},
		{"half a surrogate pair", plainly, edit(state, `"a"`, `"\ud800"`), "surrogate"},
		{"not UTF-8", plainly, edit(state, `"a"`, "\"\xff\""), "not UTF-8"},
		{"future format", plainly, edit(state, `"format":1`, `"format":2`), "wire format"},
		{"no format", plainly, edit(state, `"format":1,`, ""), "wire format"},
		{"format in quotes", plainly, edit(state, `"format":1`, `"format":"1"`), "body"},
		{"another node's", plainly, edit(state, "api-1", "api-2"), `node "api-2"`},
		{"another scope's", plainly, edit(state, "eu.1", "eu"), `scope "eu"`},
		{"incarnation 0", plainly, edit(state, `"incarnation":5`, `"incarnation":0`), "incarnation 0"},
		{"incarnation too large", plainly, edit(state, `"incarnation":5`, `"incarnation":9007199254740992`), "not from 1"},
		{"incarnation below 0", plainly, edit(state, `"incarnation":5`, `"incarnation":-5`), "body"},
		{"no version", plainly, edit(state, `"version":2,`, ""), "version 0"},
		{"version too large", deleted, edit(expired, `"version":2`, `"version":9007199254740992`), "not from 1"},
		{"version with a fraction", plainly, edit(state, `"version":2`, `"version":2.5`), "body"},
		{"an empty role", plainly, edit(state, `"a"`, `""`), "role is empty"},
		{"a role that is too long", plainly, edit(state, `"a"`, `"`+strings.Repeat("a", maxRole+1)+`"`), "at most 4096"},
		{"a role that is a number", plainly, edit(state, `"a"`, `42`), "body"},
		{"gone for an unknown reason", deleted, edit(expired, `"expired"`, `"unreachable"`), "unknown reason"},
		{"a state that is deleted", deleted, state, "deleted"},
		{"a state that is purged", nats.Header{"KV-Operation": {"PURGE"}}, state, "deleted"},
		{"a tombstone that is not deleted", plainly, expired, "deleted"},
		{"a state written by the lease", nats.Header{"Nats-Scheduler": {lease}}, state, "written by the schedule"},
		{"a state written by a foreign schedule", nats.Header{"Nats-Scheduler": {"x"}}, state, "written by the schedule"},
		{"a tombstone of a foreign lease", nats.Header{"KV-Operation": {"DEL"}, "Nats-Scheduler": {wire.lease(storedScope, "api-2")}}, expired, "written by the schedule"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := decodeRecord(wire, readHeaders(tc.hdr), subject, []byte(tc.body), 3)
			require.ErrorContains(t, err, tc.says)
			require.Less(t, len(err.Error()), 400, "an error does not repeat a long body")
		})
	}
	for _, foreign := range []string{"", "$KV.rolebus.eu=2E1", "$KV.other.eu=2E1.api-1", "rolebus.changes.eu=2E1.api-1", subject + ".x"} {
		_, _, err := decodeRecord(wire, readHeaders(plainly), foreign, []byte(state), 3)
		require.Error(t, err, foreign)
	}
}

func TestTombstoneHasNothingButItsReason(t *testing.T) {
	body := `{"format":1,"scope":"eu.1","node":"api-1","incarnation":5,"version":2,"ttl":1000,"roles":["a"],"meta":{"k":"v"},"gone":"left"}`
	_, _, err := decodeRecord(wire, readHeaders(nats.Header{"KV-Operation": {"DEL"}}), wire.record(storedScope, storedNode), []byte(body), 3)
	require.ErrorContains(t, err, "more than one")
}

func FuzzAnnouncement(f *testing.F) {
	for _, tc := range stored {
		hdr, subject := republish(encodedHeaders(f, tc.name), storedScope, storedNode, storedAt)
		f.Add(subject, headerText(hdr))
		hdr.Set("Nats-Scheduler", wire.lease(storedScope, storedNode))
		f.Add(subject, headerText(hdr))
	}
	f.Fuzz(func(t *testing.T, subject, headers string) {
		scope, c, err := decodeAnnouncement(wire, wireFleet, readHeaders(headersOf(headers)), subject)
		if err != nil {
			return
		}
		require.NotZero(t, c.generation)
		require.NoError(t, checkName("scope", scope))
		wantValid(t, c)

		hdr := encode(wireFleet, scope, c).Header
		again, subject := republish(hdr, scope, c.node, c.generation)
		gotScope, got, err := decodeAnnouncement(wire, wireFleet, readHeaders(again), subject)
		require.NoError(t, err)
		require.Equal(t, scope, gotScope)
		if got.kind == kindNotice { // others may announce more at once than this version does
			c = change{kind: kindNotice, node: c.node, id: c.id, generation: c.generation}
		}
		c.first, got.first = false, false
		if c.kind == kindExpired { // the same lease, stored at another time
			c.late, got.late = 0, 0
		}
		require.Equal(t, trimmed(c), trimmed(got))
	})
}

func FuzzRecord(f *testing.F) {
	for _, tc := range stored {
		hdr, body := encoded(f, storedAs(tc.c))
		if tc.recorded.kind.isTombstone() {
			hdr.Set("KV-Operation", "DEL")
			hdr.Set("Nats-Scheduler", wire.lease(storedScope, storedNode))
		}
		f.Add(wire.record(storedScope, storedNode), headerText(hdr), body, uint64(storedAt))
	}
	f.Fuzz(func(t *testing.T, subject, headers string, body []byte, generation uint64) {
		scope, c, err := decodeRecord(wire, readHeaders(headersOf(headers)), subject, body, generation)
		if err != nil {
			return
		}
		require.Equal(t, generation, c.generation)
		require.Equal(t, subject, wire.record(scope, c.node))
		require.Contains(t, []kind{kindState, kindLeft, kindExpired}, c.kind, "a record is whole in itself")
		wantValid(t, c)

		msg := encode(wireFleet, scope, c)
		hdr, body := msg.Header, msg.Data
		if c.kind.isTombstone() {
			hdr.Set("KV-Operation", "DEL")
		}
		gotScope, got, err := decodeRecord(wire, readHeaders(hdr), subject, body, generation)
		require.NoError(t, err)
		require.Equal(t, scope, gotScope)
		require.Equal(t, trimmed(c), trimmed(got))
	})
}

// wantValid checks what the inside relies on in a change that passed the border.
func wantValid(t *testing.T, c change) {
	t.Helper()
	require.NoError(t, checkName("node", c.node))
	require.Contains(t, kindNames, c.kind)
	for _, n := range []uint64{c.id.incarnation, c.id.version} {
		require.True(t, 0 < n && n <= maxNumber, "%d", n)
	}
	for _, set := range [][]Role{c.roles, c.added, c.removed} {
		require.NoError(t, checkRoles(set))
		require.True(t, slices.IsSorted(set), "%q", set)
		require.Len(t, slices.Compact(slices.Clone(set)), len(set), "%q", set)
		require.Equal(t, len(set), cap(set))
	}
	for key, value := range c.meta {
		require.True(t, utf8.ValidString(key) && utf8.ValidString(value))
	}
	if c.kind != kindState {
		require.Empty(t, c.roles, "a %v has no roles", c.kind)
		require.Empty(t, c.meta, "a %v has no metadata", c.kind)
	}
	if c.kind != kindExpired {
		require.Zero(t, c.late)
		require.Zero(t, c.due)
	}
	if c.kind == kindState {
		require.NoError(t, checkTTL(c.ttl))
	} else {
		require.Zero(t, c.ttl)
	}
	if c.kind == kindDelta {
		require.True(t, 0 < c.base && c.base < c.id.version)
	} else {
		require.Zero(t, c.base)
		require.Empty(t, c.added)
		require.Empty(t, c.removed)
	}
}

// trimmed makes what is empty nil, so that changes can be compared.
func trimmed(c change) change {
	for _, set := range []*[]Role{&c.roles, &c.added, &c.removed} {
		if len(*set) == 0 {
			*set = nil
		}
	}
	if len(c.meta) == 0 {
		c.meta = nil
	}
	return c
}

func encoded(tb testing.TB, c change) (nats.Header, []byte) {
	tb.Helper()
	msg := encode(wireFleet, storedScope, c)
	hdr, body := msg.Header, msg.Data
	return hdr, body
}

func encodedHeaders(tb testing.TB, name string) nats.Header {
	tb.Helper()
	for _, tc := range stored {
		if tc.name == name {
			hdr, _ := encoded(tb, storedAs(tc.c))
			return hdr
		}
	}
	tb.Fatalf("nothing is stored by the name %q", name)
	return nil
}

// republish returns the announcement that the server makes of a stored message.
func republish(hdr nats.Header, scope, node string, generation uint64) (nats.Header, string) {
	hdr = maps.Clone(hdr)
	hdr.Set("Nats-Stream", wire.stream())
	hdr.Set("Nats-Subject", wire.record(scope, node))
	hdr.Set("Nats-Sequence", strconv.FormatUint(generation, 10))
	hdr.Set("Nats-Time-Stamp", storedTime.Format(time.RFC3339Nano))
	hdr.Set("Nats-Last-Sequence", "3")
	hdr.Set("Nats-Msg-Size", "100")
	return hdr, "rolebus.changes." + SubjectToken(scope) + "." + SubjectToken(node)
}

func headerText(hdr nats.Header) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(hdr)) {
		fmt.Fprintf(&text, "%s: %s\n", name, hdr.Get(name))
	}
	return text.String()
}

func headersOf(text string) nats.Header {
	hdr := nats.Header{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			hdr.Add(name, value)
		}
	}
	return hdr
}

func splitGolden(text string) (headers, body string) {
	headers, body, _ = strings.Cut(text, "\n\n")
	return headers + "\n", strings.TrimSuffix(body, "\n")
}
