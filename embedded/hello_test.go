package embedded

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write golden files anew")

func fullHello() *hello {
	return &hello{
		Version: helloVersion, Fleet: "rolebus", Name: "a", Instance: "0011", Nonce: "2233", Size: 3, Phase: phaseMember,
		Time: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		Host: "a.example", Port: 6222, RoutePort: 6248, Scheme: "tls", Client: 4222,
		Cluster: "rolebus-0123456789abcdef", Server: "a~1", Took: 1500, Proposal: "rolebus-fedcba9876543210", Founders: []founder{{"a", "2233"}, {"b", "4455"}},
		Refused: "why", Leader: "a~1", Peers: []string{"a~1", "b", "c"}, Accepts: []string{"m1"}, Going: true,
		Lead:   &lead{Term: 7, Quorum: true, Live: []string{"a~1", "b"}, Invited: "6677", Leaving: "c", Surplus: "d"},
		Others: []contact{{Host: "10.0.0.2", Port: 6222}, {Host: "fd00::1", Port: 6222, TLSName: "b.example"}},
	}
}

// The form of a hello is that of the golden file: processes of different versions of rolebus read each other's.
func TestHelloHasTheFormOfItsVersion(t *testing.T) {
	path := filepath.Join("testdata", "hello.json")
	if *update {
		require.NoError(t, os.WriteFile(path, append(fullHello().encode(), '\n'), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), string(fullHello().encode()))
	h, err := decodeHello(want)
	require.NoError(t, err)
	require.Equal(t, fullHello(), h)
	require.True(t, h.leads())
}

func TestHelloThatIsNoneIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(h *hello)
		says   string
	}{
		"no name":              {func(h *hello) { h.Name = "" }, "its name"},
		"a long name":          {func(h *hello) { h.Name = strings.Repeat("n", mostName+1) }, "its name"},
		"a name for subjects":  {func(h *hello) { h.Name = "a.>" }, "its name"},
		"a server of spaces":   {func(h *hello) { h.Server = "a b" }, "its name"},
		"no instance":          {func(h *hello) { h.Instance = "" }, "instance"},
		"a long nonce":         {func(h *hello) { h.Nonce = strings.Repeat("n", mostName+1) }, "nonce"},
		"a cluster of lines":   {func(h *hello) { h.Cluster = "a\nb" }, "its cluster is none"},
		"no phase":             {func(h *hello) { h.Phase = "" }, "unknown phase"},
		"another phase":        {func(h *hello) { h.Phase = "king" }, "unknown phase"},
		"a member of nothing":  {func(h *hello) { h.Cluster = "" }, "of no cluster"},
		"a member, no server":  {func(h *hello) { h.Server = "" }, "of no cluster"},
		"port 0":               {func(h *hello) { h.Port = 0 }, "a port"},
		"a port too high":      {func(h *hello) { h.RoutePort = 65536 }, "a port"},
		"a port below 0":       {func(h *hello) { h.Client = -1 }, "a port"},
		"another scheme":       {func(h *hello) { h.Scheme = "http" }, "unknown scheme"},
		"a host of slashes":    {func(h *hello) { h.Host = "a/b" }, "host"},
		"too many peers":       {func(h *hello) { h.Peers = make([]string, mostPeers+1) }, "too long"},
		"too many others":      {func(h *hello) { h.Others = make([]contact, mostOthers+1) }, "too long"},
		"too many founders":    {func(h *hello) { h.Founders = make([]founder, mostSize+1) }, "too long"},
		"too many live":        {func(h *hello) { h.Lead.Live = make([]string, mostPeers+1) }, "too long"},
		"a long peer":          {func(h *hello) { h.Peers[0] = strings.Repeat("p", mostName+1) }, "too long"},
		"a long leader":        {func(h *hello) { h.Leader = strings.Repeat("p", mostName+1) }, "too long"},
		"a long founder":       {func(h *hello) { h.Founders[1].Nonce = strings.Repeat("p", mostName+1) }, "too long"},
		"a long invitation":    {func(h *hello) { h.Lead.Invited = strings.Repeat("p", mostName+1) }, "too long"},
		"a reason like a book": {func(h *hello) { h.Refused = strings.Repeat("p", mostText+1) }, "too long"},
		"version 2":            {func(h *hello) { h.Version = 2 }, "it has version 2, and known is 1: let all processes have the same version of rolebus"},
	} {
		t.Run(name, func(t *testing.T) {
			h := fullHello()
			test.change(h)
			_, err := decodeHello(h.encode())
			require.ErrorContains(t, err, test.says)
			require.Less(t, len(err.Error()), 4*mostName, "what is wrong is told in a line")
		})
	}
	for _, text := range []string{"", "null", "[]", "{", `"hello"`, "{}", `{"version":1,"port":"6222"}`} {
		_, err := decodeHello([]byte(text))
		require.Error(t, err, "%q", text)
	}
}

// A process that is told of others who cannot be reached asks only those who can.
func TestHelloIsReadWithoutContactsThatAreNone(t *testing.T) {
	h := fullHello()
	h.Others = append(h.Others, contact{Host: "", Port: 6222}, contact{Host: "a b", Port: 6222}, contact{Host: "b", Port: 0})
	got, err := decodeHello(h.encode())
	require.NoError(t, err)
	require.Equal(t, fullHello().Others, got.Others)
}

// By a leader's list stores are emptied: what does not go together is no leader's.
func TestLeaderIsBelievedOnlyIfItGoesTogether(t *testing.T) {
	for name, change := range map[string]func(h *hello){
		"it says nothing of leading": func(h *hello) { h.Lead = nil },
		"it has no quorum":           func(h *hello) { h.Lead.Quorum = false },
		"too few are live":           func(h *hello) { h.Lead.Live = []string{"a~1"} },
		"it lists nobody":            func(h *hello) { h.Peers = nil },
		"it does not list itself":    func(h *hello) { h.Peers = []string{"b", "c"} },
		"its server follows another": func(h *hello) { h.Leader = "b" },
		"its server knows no leader": func(h *hello) { h.Leader = "" },
		"it is no member":            func(h *hello) { h.Phase = phaseJoining },
	} {
		h := fullHello()
		change(h)
		require.False(t, h.leads(), name)
	}
}

func FuzzDecodeHello(f *testing.F) {
	f.Add(fullHello().encode())
	f.Add([]byte(`{"version":1,"name":"a","instance":"1","phase":"spare","port":1,"route_port":1}`))
	f.Add([]byte(`{"version":1,"lead":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := decodeHello(text)
		if err != nil {
			return
		}
		again, err := decodeHello(h.encode())
		if err != nil {
			t.Fatalf("what was read is refused when it is said again: %v", err)
		}
		if !bytes.Equal(h.encode(), again.encode()) {
			t.Fatalf("%s became %s", h.encode(), again.encode())
		}
		b := newBrain(time.Unix(0, 0), settings{fleet: h.Fleet, size: 3}, identity{name: "z", phase: phaseSpare, cluster: h.Cluster}, "0")
		b.view.hear(time.Unix(0, 0), contact{Host: "10.0.0.1"}, h)
		b.step(time.Unix(1, 0), status{})
	})
}
