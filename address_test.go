package rolebus

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]Address{
		"nats":                         {Host: "nats"},
		" nats.example. ":              {Host: "nats.example."},
		"nats-0_a.example:4333":        {Host: "nats-0_a.example", Port: 4333},
		"10.0.0.7":                     {Host: "10.0.0.7"},
		"10.0.0.7:1":                   {Host: "10.0.0.7", Port: 1},
		"nats://10.0.0.7:65535":        {Host: "10.0.0.7", Port: 65535, Scheme: "nats"},
		"TLS://nats.example":           {Host: "nats.example", Scheme: "tls"},
		"ws://a/":                      {Host: "a", Scheme: "ws"},
		"wss://a:443":                  {Host: "a", Port: 443, Scheme: "wss"},
		"nats-route://a:6222":          {Host: "a", Port: 6222, Scheme: "nats-route", Route: true},
		"::1":                          {Host: "::1"},
		"[::1]":                        {Host: "::1"},
		"[::1]:4222":                   {Host: "::1", Port: 4222},
		"FE80:0::1%eth0":               {Host: "fe80::1%eth0"},
		"[fe80::1%eth0]:4222":          {Host: "fe80::1%eth0", Port: 4222},
		"[fe80::1%25]:4222":            {Host: "fe80::1%25", Port: 4222},
		"[fe80::1%250]:4222":           {Host: "fe80::1%250", Port: 4222},
		"nats://[fe80::1%2525]:4222":   {Host: "fe80::1%25", Port: 4222, Scheme: "nats"},
		"nats://[fe80::1%25eth0]:4222": {Host: "fe80::1%eth0", Port: 4222, Scheme: "nats"},
		"12345":                        {Host: "12345"},
	} {
		got, err := ParseAddress(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, says := range map[string]string{
		"":                                "it has no host",
		"  ":                              "it has no host",
		"nats://":                         "it has no host",
		":4222":                           "it has no host",
		"a b":                             "neither",
		"a:":                              "its port must be a number from 1 to 65535",
		"a:0":                             "its port must be a number from 1 to 65535",
		"a:65536":                         "its port must be a number from 1 to 65535",
		"a:-1":                            "neither host:port nor a URL",
		"a:4222:4223":                     "",
		"10.0.0.256":                      `host "10.0.0.256" is neither a name nor an IP address`,
		"1.2.3":                           "neither a name nor an IP address",
		"0.0.0.0":                         "neither a name nor an IP address",
		"::":                              "neither a name nor an IP address",
		"::ffff:0.0.0.0":                  "neither a name nor an IP address",
		"224.0.0.1":                       "neither a name nor an IP address",
		"[::1":                            "",
		"[[::1]]":                         "",
		"]::1[":                           "",
		"::1:4222:zz":                     "",
		"fe80::1%a/b":                     "",
		"a..b":                            "neither a name nor an IP address",
		".":                               "neither a name nor an IP address",
		"bücher.example":                  "neither a name nor an IP address",
		strings.Repeat("a", 64):           "neither a name nor an IP address",
		strings.Repeat("a.", 200):         "neither a name nor an IP address",
		"http://a":                        `unknown scheme "http"; known are nats, tls, ws, wss`,
		"nats://a/path":                   "nothing may follow the port",
		"nats://a?x=1":                    "nothing may follow the port",
		"nats://a#x":                      "nothing may follow the port",
		"nats://a,nats://b":               "",
		"a\x00b":                          "",
		"user:hunter2@a":                  "an address has no user and no password",
		"nats://hunter2@a":                "an address has no user and no password",
		"nats://user:hunter2":             `address "nats://user:..."`,
		"nats://user:hunter2%40a:4222":    `address "nats://user:..."`,
		"nats://a?token=hunter2":          `address "nats://a..."`,
		"nats://a#hunter2":                `address "nats://a..."`,
		"user:hunter2 a":                  `address "user:..."`,
		strings.Repeat("x", 10_000) + "/": "neither",
	} {
		got, err := ParseAddress(text)
		require.Error(t, err, text)
		require.Zero(t, got, text)
		require.Contains(t, err.Error(), says, text)
		require.NotContains(t, err.Error(), "hunter2", text)
		require.Less(t, len(err.Error()), 300, text)
	}
}

func TestAddressCheck(t *testing.T) {
	for says, a := range map[string]Address{
		"it has no host":            {},
		"port -1":                   {Host: "a", Port: -1},
		"port 65536":                {Host: "a", Port: 65536},
		`unknown scheme "http"`:     {Host: "a", Scheme: "http"},
		`unknown scheme "nats, t`:   {Host: "a", Scheme: "nats, tls"},
		"known are nats-route, tls": {Host: "a", Scheme: "ws", Route: true},
		"known are nats, tls, ws":   {Host: "a", Scheme: "nats-route"},
		`TLS name "*"`:              {Host: "a", TLSName: "*"},
		`host "fe80::1%a b"`:        {Host: "fe80::1%a b"},
		`host "[::1]"`:              {Host: "[::1]"},
		`host "a:4222"`:             {Host: "a:4222"},
		`host "a/b"`:                {Host: "a/b"},
	} {
		require.ErrorContains(t, a.Check(), says)
		require.ErrorContains(t, a.Check(), "address ")
	}
	// Somebody's own strategy may put a whole URL there.
	for _, a := range []Address{{Host: "admin:hunter2@a"}, {Host: "nats://hunter2@a:4222"}, {Host: "a", TLSName: "u:hunter2@a"}, {Host: "a", Scheme: "tls://u:hunter2@a"}} {
		require.ErrorContains(t, a.Check(), "an address has no user and no password")
		require.NotContains(t, a.Check().Error(), "hunter2")
	}
	for _, a := range []Address{{Host: "a"}, {Host: "::1", Port: 1}, {Host: "a", Scheme: "tls", Route: true}, {Host: "a", Scheme: "nats-route", Route: true}, {Host: "10.0.0.1", TLSName: "a.example", Server: "n0", Cluster: "c"}} {
		require.NoError(t, a.Check())
	}
}

func TestAddressAsText(t *testing.T) {
	for want, a := range map[string]Address{
		"nats://a:4222":                {Host: "a"},
		"tls://a:4222":                 {Host: "a", Scheme: "tls"},
		"ws://a:80":                    {Host: "a", Scheme: "ws"},
		"wss://a:443":                  {Host: "a", Scheme: "wss"},
		"nats-route://a:6222":          {Host: "a", Route: true},
		"tls://a:6222":                 {Host: "a", Scheme: "tls", Route: true},
		"nats://[::1]:1":               {Host: "::1", Port: 1},
		"nats://[fe80::1%25eth0]:4222": {Host: "fe80::1%eth0"},
	} {
		require.Equal(t, want, a.String())
	}
	require.Equal(t, "[fe80::1%eth0]:4222", Address{Host: "fe80::1%eth0"}.HostPort(), "as a dialer takes it")
}

func FuzzAddress(f *testing.F) {
	for _, text := range []string{"a", "a:1", "nats://[::1]:2", "tls://a.b.", "fe80::1%eth0", "[fe80::1%eth0]:1", "nats-route://a", "u:p@h", "a%25b", "[::1%25]:1", "[::%25]", "fe80::1%250", "//a", "a://b://c", "%", "[%"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			require.Zero(t, a)
			require.NotEmpty(t, err.Error())
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NoError(t, a.Check())
		u, err := url.Parse(a.String()) // which nats.go is given
		require.NoError(t, err)
		require.Equal(t, a.Host, u.Hostname())
		again, err := ParseAddress(a.String())
		require.NoError(t, err, a.String())
		require.Equal(t, a.HostPort(), again.HostPort())
		require.Equal(t, a.String(), again.String())
		require.Equal(t, a.Route, again.Route)
		whole, err := ParseAddress(a.HostPort())
		require.NoError(t, err)
		require.Equal(t, a.HostPort(), Address{Host: whole.Host, Port: whole.Port}.HostPort())
		secret, err := ParseAddress("user:hunter2@" + text)
		require.Zero(t, secret)
		require.NotContains(t, err.Error(), "hunter2")
	})
}
