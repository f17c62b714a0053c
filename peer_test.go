package rolebus

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDisconnectsTellOfNodesWhoseSideClosed(t *testing.T) {
	event := func(name, reason string) string {
		return `{"server":{"id":"NA1"},"client":{"id":7,"name":"` + name + `"},"reason":"` + reason + `"}`
	}
	for body, want := range map[string]hint{
		event("rolebus api-1", "Client Closed"):   {node: "api-1", server: "NA1", closed: true},
		event("rolebus a b", "Read Error"):        {node: "a b", server: "NA1", closed: true},
		event("rolebus api-1", "Write Error"):     {node: "api-1", server: "NA1", closed: true},
		event("rolebus api-1", "Server Shutdown"): {},
		event("rolebus api-1", "Kicked"):          {},
		event("rolebus ", "Client Closed"):        {},
		event("somebody", "Client Closed"):        {},
		`{}`:                                      {},
	} {
		got, err := decodeDisconnect([]byte(body))
		require.NoError(t, err, body)
		require.Equal(t, want, got, body)
	}
	for _, body := range []string{``, `[]`, strings.Replace(event("rolebus a", "Client Closed"), "NA1", "*.>", 1)} {
		_, err := decodeDisconnect([]byte(body))
		require.Error(t, err, body)
	}
}

func TestAnswersAreReadAsFarAsTheyGo(t *testing.T) {
	a, err := decodeAnswer([]byte(`{"format":1,"server":"NA1","suspects":[{"node":"b","incarnation":5,"server":"NB2"},{"node":"","server":"NB2"}]}`))
	require.Error(t, err, "one suspect has no name")
	require.Equal(t, answer{server: "NA1", suspects: []hint{{node: "b", incarnation: 5, server: "NB2"}}}, a)
	for _, body := range []string{``, `x`, `{"format":2,"server":"NA1"}`, `{"format":1}`, `{"format":1,"server":"a.b"}`} {
		_, err := decodeAnswer([]byte(body))
		require.Error(t, err, body)
	}
	many := `{"format":1,"server":"NA1","suspects":[` + strings.TrimSuffix(strings.Repeat(`{"node":"b","server":"NB2"},`, 1000), ",") + `]}`
	a, err = decodeAnswer([]byte(many))
	require.NoError(t, err)
	require.Len(t, a.suspects, maxSuspects)
}

// FuzzPeers reads what other processes and servers send past the bucket: it never panics, and no name that it returns
// could leave its place in a subject.
func FuzzPeers(f *testing.F) {
	f.Add([]byte(`{"format":1,"server":"NA1","incarnation":7}`))
	f.Add([]byte(`{"format":1,"server":"NA1","suspects":[{"node":"b","incarnation":5,"server":"NB2"}]}`))
	f.Add([]byte(`{"server":{"id":"NA1"},"client":{"name":"rolebus a"},"reason":"Client Closed"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		check := func(h hint) {
			require.NoError(t, checkName("node", h.node))
			require.NoError(t, checkServer(h.server))
		}
		if h, err := decodeHint(fakeSubjects, fakeSubjects.suspect("s", "n"), body); err == nil {
			check(h)
		}
		if h, err := decodeDisconnect(body); err == nil && h.node != "" {
			check(h)
		}
		a, err := decodeAnswer(body)
		if err == nil {
			require.NoError(t, checkServer(a.server))
		}
		for _, h := range a.suspects {
			check(h)
		}
	})
}

// What servers write is read without encoding/json, and means the same.
func TestScanDisconnectReadsWhatServersWrite(t *testing.T) {
	for _, reason := range []string{"Client Closed", "Read Error", "Write Error", "Stale Connection"} {
		body := `{"type":"io.nats.server.advisory.v1.client_disconnect","id":"x","timestamp":"2026-01-01T00:00:00Z",` +
			`"server":{"name":"n1","host":"0.0.0.0","id":"NABC","ver":"2.15.2","seq":7,"jetstream":true},` +
			`"client":{"start":"2026-01-01T00:00:00Z","host":"127.0.0.1","id":8,"acc":"$G","name":"rolebus api-1","lang":"go"},` +
			`"sent":{"msgs":1,"bytes":2},"received":{"msgs":3,"bytes":4},"reason":"` + reason + `"}`
		got, ok := scanDisconnect(body)
		require.True(t, ok)
		var want wireDisconnect
		require.NoError(t, json.Unmarshal([]byte(body), &want))
		require.Equal(t, want, got)
	}
	for _, body := range []string{"", "{}", `{"server":{"id":"N"},"client":{"name":"rolebus \u0061"},"reason":"Client Closed"}`} {
		_, ok := scanDisconnect(body)
		require.False(t, ok, body)
	}
}
