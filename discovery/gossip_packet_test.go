package discovery

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const testSecret = "0a9Zk3-unit-tests-only"

func testKey(t testing.TB, secret string) cipher.AEAD {
	t.Helper()
	key, err := gossipKey(secret)
	require.NoError(t, err)
	return key
}

func testPackets() []*gossipPacket {
	me, other := gossipSession([]byte("0123456789abcdef")), gossipSession([]byte("fedcba9876543210"))
	return []*gossipPacket{
		{session: me, counter: 1, kind: gossipQuery, cluster: "north", challenge: gossipChallenge([]byte("a secret"))},
		{session: me, counter: 2, kind: gossipQuery, cluster: "north", challenge: gossipChallenge([]byte("another!")), asked: []gossipSession{other, me}},
		{session: other, counter: 3, kind: gossipState, cluster: "north", every: 5 * time.Second, answers: []gossipChallenge{gossipChallenge([]byte("a secret"))},
			addresses: []Address{
				{Host: "10.0.0.7", Port: 4222, Scheme: "tls", Server: "nats-0", Cluster: "C", TLSName: "nats.example", Priority: 1, Weight: 65535},
				{Host: "fd00::7", Route: true}, {Host: "nats.example", Port: 65535, Scheme: "wss"}, {Host: "a", Scheme: "nats-route", Route: true},
			}},
		{session: other, counter: 1 << 63, kind: gossipGoodbye, cluster: "Süd"},
	}
}

func TestGossipPacketsComeBackAsTheyWere(t *testing.T) {
	key, another := testKey(t, testSecret), testKey(t, testSecret+"!")
	for _, p := range testPackets() {
		b, err := p.seal(key)
		require.NoError(t, err)
		for _, keys := range [][]cipher.AEAD{{key}, {another, key}, {key, another}} {
			got, err := openGossip(keys, b, nil)
			require.NoError(t, err)
			require.Equal(t, p, got)
		}
		_, err = openGossip([]cipher.AEAD{another}, b, nil)
		require.Equal(t, errGossipForeign, err)
		require.NotContains(t, string(b), p.cluster, "it is encrypted")

		for i := range b { // nothing can be changed, or cut off, or added
			changed := bytes.Clone(b)
			changed[i] ^= 1
			_, err := openGossip([]cipher.AEAD{key}, changed, nil)
			require.Error(t, err)
			_, err = openGossip([]cipher.AEAD{key}, b[:i], nil)
			require.Error(t, err)
		}
		_, err = openGossip([]cipher.AEAD{key}, append(bytes.Clone(b), 0), nil)
		require.Equal(t, errGossipForeign, err)
	}
}

func TestGossipPacketsThatAreNone(t *testing.T) {
	keys := []cipher.AEAD{testKey(t, testSecret)}
	for name, b := range map[string][]byte{"nil": nil, "empty": {}, "the magic alone": []byte(gossipMagic), "text": []byte(strings.Repeat("hello", 100))} {
		_, err := openGossip(keys, b, nil)
		require.Equal(t, errGossipNone, err, name)
	}
	_, err := openGossip(keys, []byte("rbg\x02"+strings.Repeat("x", 100)), nil)
	require.Equal(t, errGossipVersion, err)
	_, err = openGossip(keys, []byte(gossipMagic+strings.Repeat("x", gossipMost)), nil)
	require.Equal(t, errGossipLong, err)
}

// What comes from somebody who has the secret is not believed either before it is read to its end.
func TestGossipBodiesThatCannotBeRead(t *testing.T) {
	key := testKey(t, testSecret)
	sealed := func(body string) error {
		head := []byte(gossipMagic + strings.Repeat("s", 24))
		_, err := openGossip([]cipher.AEAD{key}, key.Seal(head, head[4:28], []byte(body), head[:4]), nil)
		return err
	}
	address := "\x01a\x10\x7e\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	require.NoError(t, sealed("\x02\x01c\x00\x00\x13\x88\x00\x01"+address))
	require.NoError(t, sealed("\x02\x01c\x00\x00\x13\x88\x00\x01"+address+"what a later version says"))
	for body, want := range map[string]string{
		"":             "unknown kind 0",
		"\x09\x01c":    "unknown kind 9",
		"\x01\x05c":    "ends too early",
		"\x01\x01\n":   "cannot be printed",
		"\x01\x01\xff": "cannot be printed",
		"\x01\x01c\x00\x00\x00\x00\x00\x00\x00\x00\xff":                                                           "ends too early",
		"\x02\x01c\x00\x00\x13\x88\x00\x00":                                                                       "no address",
		"\x02\x01c\x00\x00\x13\x88\x00\xff":                                                                       "ends too early",
		"\x02\x01c\x00\x00\x13\x88\x00\x01" + strings.Replace(address, "\x01a", "\x00", 1):                        "it has no host",
		"\x02\x01c\x00\x00\x13\x88\x00\x01" + strings.Replace(address, "\x01a", "\x070.0.0.0", 1):                 "neither a name nor an IP",
		"\x02\x01c\x00\x00\x13\x88\x00\x01" + strings.Replace(address, "\x7e\x00", "\x7e\x77", 1):                 "unknown scheme 119",
		"\x02\x01c\x00\x00\x13\x88\x00\x01" + strings.Replace(address, "\x7e\x00\x00\x00", "\x7e\x05\x00\x00", 1): "unknown scheme",
	} {
		err := sealed(body)
		require.ErrorIs(t, err, errGossipBody, "%q", body)
		require.ErrorContains(t, err, want, "%q", body)
	}
}

func TestGossipPacketsAreBounded(t *testing.T) {
	key := testKey(t, testSecret)
	for want, p := range map[string]*gossipPacket{
		"300 addresses, and a packet has room for 255": {kind: gossipState, cluster: "c", addresses: make([]Address, 300)},
		"33 answers":        {kind: gossipState, cluster: "c", answers: make([]gossipChallenge, 33)},
		"17 sessions":       {kind: gossipQuery, cluster: "c", asked: make([]gossipSession, 17)},
		`cluster "a\nb"`:    {kind: gossipGoodbye, cluster: "a\nb"},
		"unknown scheme":    {kind: gossipState, cluster: "c", addresses: []Address{{Host: "a", Scheme: "http"}}},
		`server "xxxxxx`:    {kind: gossipState, cluster: "c", addresses: []Address{{Host: "a", Server: strings.Repeat("x", 256)}}},
		"and may have 1200": {kind: gossipState, cluster: "c", addresses: make([]Address, 255)},
	} {
		_, err := p.seal(key)
		require.ErrorContains(t, err, want)
	}
}

// The example of docs/GOSSIP.md is one: others hold their programs against it.
func TestGossipVectors(t *testing.T) {
	page, err := os.ReadFile("../docs/GOSSIP.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1)
	require.Len(t, blocks, 3, "of each kind one")
	for _, block := range blocks {
		var v struct {
			Secret, Session, Cluster, Packet string
			Counter                          uint64
			Kind                             string
			Challenge                        string
			Asked                            []string
			Every                            int
			Answers                          []string
			Addresses                        []Address
		}
		decoder := json.NewDecoder(bytes.NewReader(block[1]))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&v))
		unhex := func(s string) []byte {
			b, err := hex.DecodeString(s)
			require.NoError(t, err)
			return b
		}
		p := &gossipPacket{session: gossipSession(unhex(v.Session)), counter: v.Counter, cluster: v.Cluster, addresses: v.Addresses}
		p.kind = map[string]gossipKind{"query": gossipQuery, "state": gossipState, "goodbye": gossipGoodbye}[v.Kind]
		p.every = time.Duration(v.Every) * time.Millisecond
		if v.Challenge != "" {
			p.challenge = gossipChallenge(unhex(v.Challenge))
		}
		for _, s := range v.Asked {
			p.asked = append(p.asked, gossipSession(unhex(s)))
		}
		for _, s := range v.Answers {
			p.answers = append(p.answers, gossipChallenge(unhex(s)))
		}
		key := testKey(t, v.Secret)
		b, err := p.seal(key)
		require.NoError(t, err)
		require.Equal(t, v.Packet, hex.EncodeToString(b))
		got, err := openGossip([]cipher.AEAD{key}, unhex(v.Packet), nil)
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
}

func FuzzGossipPacket(f *testing.F) {
	key := testKey(f, testSecret)
	for _, p := range testPackets() {
		b, err := p.seal(key)
		require.NoError(f, err)
		f.Add(b, true)
		body, err := p.body()
		require.NoError(f, err)
		f.Add(body, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed {
			_, _ = openGossip([]cipher.AEAD{key}, b, nil)
			return
		}
		p := &gossipPacket{}
		if p.read(b) != nil {
			return
		}
		// What was read can be sent again, and is then the same, but for what it has no room for.
		if len(p.answers) > gossipAnswers || len(p.asked) > gossipAsked {
			return
		}
		body, err := p.body()
		require.NoError(t, err)
		again := &gossipPacket{}
		require.NoError(t, again.read(body))
		require.Equal(t, p, again)
		for _, a := range p.addresses {
			require.NoError(t, a.Check())
		}
	})
}

// What a packet costs whoever has nothing to do with it.
func BenchmarkGossipPacket(b *testing.B) {
	key := testKey(b, testSecret)
	own, err := testPackets()[2].seal(key)
	require.NoError(b, err)
	foreign, err := testPackets()[2].seal(testKey(b, testSecret+"!"))
	require.NoError(b, err)
	large := append(bytes.Clone(foreign), make([]byte, gossipMost-len(foreign))...)
	ear := &gossipEar{keys: []cipher.AEAD{key}, cluster: "north", strange: newGossipStrangers()}
	from := netip.MustParseAddrPort("10.0.0.7:45892")
	scratch := make([]byte, 0, gossipMost)
	for name, packet := range map[string][]byte{"own": own, "foreign": foreign, "foreign, 1200 bytes": large, "garbage": make([]byte, gossipMost)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ear.hear(packet, scratch, from)
			}
		})
	}
}

// A flood costs no memory.
func TestGossipStrangersCostNothing(t *testing.T) {
	ear := &gossipEar{keys: []cipher.AEAD{testKey(t, testSecret)}, cluster: "north", strange: newGossipStrangers()}
	foreign, err := testPackets()[2].seal(testKey(t, testSecret+"!"))
	require.NoError(t, err)
	from, scratch := netip.MustParseAddrPort("10.0.0.7:45892"), make([]byte, 0, gossipMost)
	for _, packet := range [][]byte{nil, []byte("hello"), make([]byte, 1000), foreign, make([]byte, gossipMost+1)} {
		require.Nil(t, ear.hear(packet, scratch, from))
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { ear.hear(packet, scratch, from) }), 1.0)
	}
	now := time.Now()
	told := ear.strange.due(now, "gossip")
	require.Len(t, told, 2)
	require.Empty(t, ear.strange.due(now, "gossip"))
	for range 1000 {
		ear.hear(foreign, scratch, from)
	}
	require.Empty(t, ear.strange.due(now.Add(gossipTellAgain-1), "gossip"))
	told = ear.strange.due(now.Add(gossipTellAgain), "gossip")
	require.Len(t, told, 1)
	require.ErrorContains(t, told[0], "gossip: 1000 packets, such as one from 10.0.0.7:45892, are sealed with another secret")
}
