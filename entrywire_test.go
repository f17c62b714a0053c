package rolebus

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// entryNews is an announcement as a server makes it.
func entryNews(value string, removed bool) *nats.Msg {
	msg := entryMessage(fakeSubjects, "F", place{"s", "k", "n"}, value, removed, 4)
	for name, said := range map[string]string{
		"Nats-Stream": "KV_rolebus", "Nats-Subject": msg.Subject, "Nats-Sequence": "5", "Nats-Last-Sequence": "4", "Nats-Time-Stamp": "2026-01-02T03:04:05.6Z",
	} {
		msg.Header[name] = []string{said}
	}
	msg.Subject, msg.Data = "rolebus.changes.s.k.n", nil
	return msg
}

var entryStored = time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)

func TestAnEntryIsReadAsItWasWritten(t *testing.T) {
	for _, at := range []place{{"s", "k", "n"}, {"a.b", "k", "größe \"*>\n"}} {
		for _, removed := range []bool{false, true} {
			for _, value := range []string{`1`, `"é\n\""`, `{"a":[1,2,{}],"b":null}`, `12345678901234567890.10`, `null`, ``} {
				msg := entryMessage(fakeSubjects, "F", at, value, removed, 4)
				require.True(t, json.Valid(msg.Data))
				require.NotContains(t, msg.Header[header][0], "\n")
				name, err := fakeSubjects.parseEntry(msg.Subject, at.scope, at.kind)
				require.NoError(t, err)
				require.Equal(t, at.name, name)
				m := message{headers: readHeaders(msg.Header), subject: msg.Subject, body: msg.Data, generation: 5, stored: entryStored}
				e, err := decodeStoredEntry(m, at)
				if value == "" && !removed {
					require.Error(t, err)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, Entry{Name: at.name, Generation: 5, Value: value, Removed: removed, Stored: entryStored}, e)
			}
			e, err := decodeEntryNews(fakeSubjects, "F", readHeaders(entryNews("1", removed).Header), "rolebus.changes.s.k.n", "s", "k")
			require.NoError(t, err)
			require.Equal(t, Entry{Name: "n", Generation: 5, Value: "1", Removed: removed, Stored: entryStored}, e)
		}
	}
}

// What an announcement does not tell is to be looked at, if it is of this bucket at all.
func TestAnAnnouncementThatDoesNotTellAnEntry(t *testing.T) {
	set := func(name string, values ...string) func(*nats.Msg) {
		return func(m *nats.Msg) { m.Header[name] = values }
	}
	for name, tc := range map[string]struct {
		change func(*nats.Msg)
		look   bool
	}{
		"no header of ours":      {func(m *nats.Msg) { delete(m.Header, header) }, true},
		"two":                    {set(header, "{}", "{}"), true},
		"no JSON":                {set(header, "{"), true},
		"no object":              {set(header, "null"), true},
		"no value":               {set(header, `{"format":1,"fleet":"F"}`), true},
		"another format":         {set(header, `{"format":2,"fleet":"F","value":1}`), true},
		"a field that is null":   {set(header, `{"format":1,"fleet":null,"value":1}`), true},
		"a large value":          {set(header, `{"format":1,"fleet":"F","value":"`+strings.Repeat("x", maxEntry)+`"}`), true},
		"a schedule":             {set("Nats-Scheduler", "$KV.rolebus=lease.s.n"), true},
		"another mark":           {set("KV-Operation", "PUT"), true},
		"a mark of others":       {func(m *nats.Msg) { m.Header["KV-Operation"] = []string{"PURGE"}; delete(m.Header, header) }, true},
		"another stream":         {set("Nats-Stream", "KV_other"), false},
		"another subject":        {set("Nats-Subject", "$KV.rolebus.s.k.m"), false},
		"no generation":          {set("Nats-Sequence"), false},
		"its writer says it all": {set("Nats-Sequence", "7", "5"), true},
		"another fleet":          {set(header, `{"format":1,"fleet":"G","value":1}`), false},
		"another kind":           {func(m *nats.Msg) { m.Subject = "rolebus.changes.s.l.n" }, false},
		"a record":               {func(m *nats.Msg) { m.Subject = "rolebus.changes.s.n" }, false},
		"a name that is none":    {func(m *nats.Msg) { m.Subject = "rolebus.changes.s.k.=41" }, false},
	} {
		msg := entryNews("1", false)
		tc.change(msg)
		e, err := decodeEntryNews(fakeSubjects, "F", readHeaders(msg.Header), msg.Subject, "s", "k")
		require.Error(t, err, name)
		require.Equal(t, tc.look, e.Name == "n", name)
		require.Equal(t, name == "another fleet", errors.As(err, new(*strangerError)), name)
		require.Equal(t, name == "a mark of others", errors.Is(err, errForeignMarker), name)
	}
}

// What stands there and is none of ours is still an entry, by its generation; what somebody else deleted is no mistake.
func TestWhatStandsThereAndIsNoEntry(t *testing.T) {
	at := place{"s", "k", "n"}
	good := `{"format":1,"scope":"s","kind":"k","name":"n","value":1}`
	for name, tc := range map[string]struct {
		body    string
		header  nats.Header
		removed bool
		fine    bool
	}{
		"as it should be":     {good, nil, false, true},
		"spaces, more fields": {`{ "more":[], "value":1 , "format":1,"kind":"k","scope":"s","name":"n" }`, nil, false, true},
		"garbage":             {"hello", nil, false, false},
		"nothing":             {"", nil, false, false},
		"a record":            {`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1,"ttl":2000,"roles":[]}`, nil, false, false},
		"of another name":     {strings.Replace(good, `"n"`, `"m"`, 1), nil, false, false},
		"of another kind":     {strings.Replace(good, `"k"`, `"m"`, 1), nil, false, false},
		"of another scope":    {strings.Replace(good, `"s"`, `"m"`, 1), nil, false, false},
		"another format":      {strings.Replace(good, `1`, `2`, 1), nil, false, false},
		"a capital":           {strings.Replace(good, `value`, `Value`, 1), nil, false, false},
		"by a schedule":       {good, nats.Header{"Nats-Scheduler": {"x"}}, false, false},
		"deleted by others":   {"", nats.Header{"KV-Operation": {"DEL"}}, true, true},
		"purged by others":    {"", nats.Header{"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}}, true, true},
		"deleted, garbage":    {"x", nats.Header{"KV-Operation": {"DEL"}, header: {"x"}}, true, false},
		"another mark":        {good, nats.Header{"KV-Operation": {"PUT"}}, false, false},
	} {
		m := message{headers: readHeaders(tc.header), body: []byte(tc.body), generation: 5, stored: entryStored}
		e, err := decodeStoredEntry(m, at)
		require.Equal(t, tc.fine, err == nil, "%s: %v", name, err)
		want := Entry{Name: "n", Generation: 5, Removed: tc.removed, Stored: entryStored}
		if tc.fine && !tc.removed {
			want.Value = "1"
		}
		require.Equal(t, want, e, name)
	}
	e, err := decodeStoredEntry(message{garbled: true, generation: 5, stored: entryStored}, at)
	require.ErrorIs(t, err, errGarbled)
	require.Equal(t, Entry{Name: "n", Generation: 5, Stored: entryStored}, e)
}

func FuzzEntry(f *testing.F) {
	f.Add(`{"format":1,"scope":"s","kind":"k","name":"n","value":{"a":1}}`)
	f.Add(`{"format":1,"fleet":"F","value":"\ud83d\ude00"}`)
	f.Add(`[1, 2]`)
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = decodeWireEntry(text)
		value, err := compactValue(text)
		if err != nil {
			return
		}
		again, err := compactValue(value)
		require.NoError(t, err)
		require.Equal(t, value, again)
		msg := entryMessage(fakeSubjects, "F", place{"s", "k", "n"}, value, false, 0)
		w, err := decodeWireEntry(msg.Header[header][0])
		require.NoError(t, err)
		require.Equal(t, wireEntry{format: 1, fleet: "F", value: value}, w)
		require.NotContains(t, msg.Header[header][0], "\n")
		require.NotContains(t, msg.Header[header][0], "\r")
	})
}
