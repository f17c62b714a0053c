package examples_test

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a program cannot do with its arguments is named: nobody is shown something else than what he asked for, such as a server of the
// program's own in the place of a URL that was given without -url.
func TestWrongArgumentsAreNamed(t *testing.T) {
	t.Parallel()
	usage := map[string]string{"quickstart": "-timeout", "discovery": "-pause", "calls": "-pause", "jobs": "-workers",
		"events": "-roles", "sharding": "-url", "polyglot": "-bucket", "dashboard": "-listen", "selfformed": "-pause", "leader": "-pause", "partitions": "-strict"}
	type wrong struct{ argument, told string }
	of := map[string][]wrong{
		"quickstart": {{"-timeout=0s", "-timeout 0s: more than 0"}, {"-pause=-1s", "-pause -1s: not less than 0"}},
		"discovery":  {{"-pause=-1s", "-pause -1s: not less than 0"}},
		"calls":      {{"-pause=-1s", "-pause -1s: not less than 0"}},
		"partitions": {{"-pause=-1s", "-pause -1s: not less than 0"}},
		"leader":     {{"-pause=-1s", "-pause -1s: not less than 0"}},
		"selfformed": {{"-pause=-1s", "-pause -1s: not less than 0"}, {"-limit=0s", "-limit 0s: more than 0"}},
		"jobs": {{"-for=0s", "-for 0s: more than 0"}, {"-workers=0", "-workers 0: more than 0"}, {"-rate=-1", "-rate -1: more than 0"}, {"-hedge=-1s", "-hedge -1s: not less than 0"},
			{"-faults=SIGWINCH", "here there are"}},
	}
	for name, shown := range usage {
		for _, w := range append(of[name], wrong{"nats://127.0.0.1:4222", `"nats://127.0.0.1:4222"`}, wrong{"-nope", "-nope"}, wrong{"-url", "-url"}) {
			if (name == "discovery" || name == "selfformed" || name == "leader" || name == "partitions") && w.argument == "-url" { // they take none, and -nope is tried
				continue
			}
			p := start(t, name, w.argument)
			require.Equal(t, 2, p.wait(t), p)
			first, _, _ := strings.Cut(p.stderr.String(), "\n")
			require.Contains(t, first, w.told, p)
			require.Contains(t, p.stderr.String(), shown)
			require.Empty(t, p.stdout.String())
		}
	}
}

// A program that waits for its server says so: it shows nothing else until then.
func TestWaitingForTheServerIsSaid(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"events", "dashboard"} {
		s := server(t)
		require.NoError(t, s.Close())
		p := start(t, name, append([]string{"-url", s.URL()}, map[string][]string{"dashboard": {"-listen", "127.0.0.1:0"}}[name]...)...)
		p.waitIn(t, &p.stderr, `waiting for NATS.*`+path.Base(s.URL())+`.*refused`)
		require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
		p.wait(t)
		p.leavesNothing(t)
	}
}
