package embedded

import (
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

func TestSecretsAreKnownByTheirForm(t *testing.T) {
	s := &secrets{}
	for text, want := range map[string]string{
		"Server is ready":                                                             "Server is ready",
		"dial tcp 10.0.0.1:6222: i/o timeout":                                         "dial tcp 10.0.0.1:6222: i/o timeout",
		"mail ada@example.com":                                                        "mail ada@example.com",
		"Removed route nats://ada:s3cret@host:6222":                                   "Removed route nats://ada:xxxxx@host:6222",
		"nats://t0ken@host and tls://u:p@h":                                           "nats://xxxxx@host and tls://u:xxxxx@h",
		"[nats://a:1@h:1 nats://b:2@h:2 nats://h]":                                    "[nats://a:xxxxx@h:1 nats://b:xxxxx@h:2 nats://h]",
		"nats://a:x@h:1,nats://b:y@h:2":                                               "nats://a:xxxxx@h:1,nats://b:xxxxx@h:2",
		`parse "nats://u:p@s/s:w@h:x": bad`:                                           `parse "nats://u:xxxxx@h:x": bad`,
		"nats://a:b@h see http://doc/x":                                               "nats://a:xxxxx@h see http://doc/x",
		"nats://:only@h":                                                              "nats://:xxxxx@h",
		`{"user":"u","pass":"p\"q,}r","name":"n"}`:                                    `{"user":"u","pass":"xxxxx","name":"n"}`,
		`"pass": "a\\","name":"n"}`:                                                   `"pass": "xxxxx"name":"n"}`, // rather too much
		`{"auth_token":"t","proxy_sig":"s"}`:                                          `{"auth_token":"xxxxx","proxy_sig":"xxxxx"}`,
		`{"jwt":"a.b","sig":"c","nkey":"UABC"}`:                                       `{"jwt":"xxxxx","sig":"xxxxx","nkey":"UABC"}`,
		`snip: "{\"pass\":\"se\\\"cret\",\"a\":1"`:                                    `snip: "{\"pass\":\"xxxxx\",\"a\":1"`,
		`snip: "{\"pass\":\"secre"...)`:                                               `snip: "{\"pass\":\"xxxxx"...)`,
		`{"pass":"never closed`:                                                       `{"pass":"xxxxx`,
		"user=u password=s3cret, more":                                                "user=u password=xxxxx, more",
		"{Username:u Password:s3cret}":                                                "{Username:u Password:xxxxx}",
		`<<- [CONNECT {"pass":"[REDACTED]","a":1}]`:                                   `<<- [CONNECT {"pass":"xxxxx","a":1}]`,
		`<<- [CONNECT {"pass":"[REDACTED]"rest"}]`:                                    `<<- [CONNECT xxxxx]`,
		"sentinel eyJ0eXAiOiJKV1Qi.eyJhIjoxfQ.c2ln":                                   "sentinel xxxxx",
		"seed SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4 bad":         "seed xxxxx bad",
		"Plaintext passwords detected, use nkeys or bcrypt":                           "Plaintext passwords detected, use nkeys or bcrypt",
		`authentication error - User "password"`:                                      `authentication error - User "password"`,
		"TLS route handshake error: EOF; Reloaded: authorization password":            "TLS route handshake error: EOF; Reloaded: authorization password",
		"Authorization callout response: token \"x\" of a subject $SYS.REQ.USER.AUTH": "Authorization callout response: token \"x\" of a subject $SYS.REQ.USER.AUTH",
	} {
		require.Equal(t, want, s.redact(text), text)
		require.Equal(t, s.redact(text), s.redact(s.redact(text)), "again: %s", text)
	}
}

func TestSecretsThatAreGivenAreHiddenInEachForm(t *testing.T) {
	s := newSecrets([]string{"", "longer-secret-1", "longer-secret", `qu"o/te é@`, "abc", "pass"})
	for text, want := range map[string]string{
		"a longer-secret-1, a longer-secret": "a xxxxx, a xxxxx",
		"xlonger-secretx":                    "xxxxxxx",
		`as it is: qu"o/te é@.`:              "as it is: xxxxx.",
		`json qu\"o/te é@`:                   "json xxxxx",
		"url " + url.User(`qu"o/te é@`).String() + ", " + url.QueryEscape(`qu"o/te é@`): "url xxxxx, xxxxx",
		"abc, abcd, (abc) xabc éabc abc":                                                "xxxxx, abcd, (xxxxx) xabc éabc xxxxx",
		`{"pass":"other"} nats://pass:other,h`:                                          `{"xxxxx":"xxxxx"} nats://xxxxx:xxxxx,h`,
		"what has none stays as it is: é, 世界, \xff":                                     "what has none stays as it is: é, 世界, \xff",
	} {
		require.Equal(t, want, s.redact(text), text)
	}
}

func TestSecretsOfOptions(t *testing.T) {
	u := func(text string) *url.URL {
		parsed, err := url.Parse(text)
		require.NoError(t, err)
		return parsed
	}
	o := &server.Options{
		Password: "1", Authorization: "2", JetStreamKey: "3", DefaultSentinel: "4", Username: "no", ServerName: "no",
		Users:     []*server.User{{Username: "no", Password: "5", Account: server.NewAccount("no")}},
		Nkeys:     []*server.NkeyUser{{Nkey: "UNO"}},
		Accounts:  []*server.Account{server.NewAccount("no")},
		Routes:    []*url.URL{u("nats://no:6@h"), u("nats://7@h"), u("nats://h"), nil},
		Cluster:   server.ClusterOpts{Password: "8"},
		Gateway:   server.GatewayOpts{Password: "9", Gateways: []*server.RemoteGatewayOpts{{URLs: []*url.URL{u("nats://no:10@h")}}}},
		LeafNode:  server.LeafNodeOpts{Password: "11", Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{u("nats://no:12@h")}}}},
		Websocket: server.WebsocketOpts{Password: "13", Token: "14"},
		MQTT:      server.MQTTOpts{Password: "15", Token: "16"},
	}
	require.ElementsMatch(t, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"}, secretsOf(o))
	require.Empty(t, secretsOf(&server.Options{}))
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"pass":"x"} nats://a:b@c`, "secret")
	f.Add(`"pass\":\"secret"`, `secret"`)
	f.Fuzz(func(t *testing.T, text, secret string) {
		s := newSecrets([]string{secret})
		told := s.redact(text + secret + text)
		if len(secret) >= longSecret && !strings.Contains(secret, "x") { // which what stands for a secret may make anew
			require.NotContains(t, told, secret)
		}
	})
}
