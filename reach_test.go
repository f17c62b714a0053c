package rolebus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestWhereTheBucketIs(t *testing.T) {
	for name, tc := range map[string]struct {
		opts                  []Option
		info, record, consume string
	}{
		"here":           {nil, "$JS.API.STREAM.INFO.KV_rolebus", "$KV.rolebus.s.n", "$JS.API.CONSUMER.MSG.NEXT.KV_rolebus.c"},
		"in a domain":    {[]Option{WithDomain("hub")}, "$JS.hub.API.STREAM.INFO.KV_rolebus", "$JS.hub.API.$KV.rolebus.s.n", "$JS.hub.API.CONSUMER.MSG.NEXT.KV_rolebus.c"},
		"in an account":  {[]Option{WithAPIPrefix("JS.hub.API")}, "JS.hub.API.STREAM.INFO.KV_rolebus", "JS.hub.API.$KV.rolebus.s.n", "JS.hub.API.CONSUMER.MSG.NEXT.KV_rolebus.c"},
		"with a dot":     {[]Option{WithAPIPrefix("x.")}, "x.STREAM.INFO.KV_rolebus", "x.$KV.rolebus.s.n", "x.CONSUMER.MSG.NEXT.KV_rolebus.c"},
		"here, in words": {[]Option{WithAPIPrefix("$JS.API")}, "$JS.API.STREAM.INFO.KV_rolebus", "$KV.rolebus.s.n", "$JS.API.CONSUMER.MSG.NEXT.KV_rolebus.c"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := newOptions(tc.opts)
			require.NoError(t, err)
			s := o.subjects()
			require.Equal(t, tc.info, s.streamAPI("INFO"))
			require.Equal(t, tc.record, s.into(s.record("s", "n")))
			require.Equal(t, tc.consume, s.consumerAPI("MSG.NEXT", "c"))
			require.Equal(t, "$KV.rolebus.s.n", s.record("s", "n"), "what is stored is the same everywhere")
			require.True(t, s.means(tc.record), "whoever asks for an answer there would have it stored")
			require.False(t, s.means("_INBOX.x"))
		})
	}
}

func TestMessagesNameWhatIsStored(t *testing.T) {
	s := subjects{bucket: "rolebus", prefix: "JS.hub.API"}
	lease := leaseMessage(s, "F", "s", change{kind: kindExpired, node: "n", id: life{1, 2}}, 3)
	require.Equal(t, "$KV.rolebus.s.n", lease.Header.Get("Nats-Schedule-Target"))
	require.Equal(t, "$KV.rolebus.s.n", lease.Header.Get("Nats-Expected-Last-Subject-Sequence-Subject"))
	require.Equal(t, "$KV.rolebus=lease.s.n", goodbyeMessage(s, "F", "s", change{kind: kindLeft, node: "n", id: life{1, 2}}, 3).Header.Get("Nats-Scheduler"))
}

// One request that is written out would go to another bucket than all the others.
func TestTheAPIIsNamedInOnePlace(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "subject.go" {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			for _, literal := range []string{`"$KV.`, `"$JS.API`, "jetstream.New("} {
				require.False(t, !strings.HasPrefix(line, "//") && strings.Contains(line, literal), "%s: %s", file, line)
			}
		}
	}
}

func TestNoAnswerGoesWhereItWouldBeStored(t *testing.T) {
	l := &link{subj: subjects{bucket: "rolebus", prefix: "JS.hub.API"}}
	err := l.respond(&nats.Msg{Reply: "JS.hub.API.$KV.rolebus.s.n"}, answer{})
	require.ErrorContains(t, err, "asks for an answer")
}
