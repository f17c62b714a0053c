package discovery_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func watchFile(t *testing.T, path string, opts ...discovery.Option) *watched {
	return watch(t, func(seen ...discovery.Option) discovery.Strategy {
		return discovery.File(path, append(seen, opts...)...)
	})
}

// pass lets fake time pass, and everything that happens in it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAFileIsFollowedAsItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		pass(10 * time.Second)
		w.warned("file " + path + ": file does not exist (create it, one address a line")
		w.stands("")

		put(t, path, "a\nb:4223\n")
		pass(1100 * time.Millisecond) // an interval at its longest
		w.stands("a:4222 b:4223")     // what comes counts at once

		put(t, path, "b:4223\ntls://c:4224\n")
		pass(990 * time.Millisecond)
		require.Contains(t, w.now(), "a:4222") // what goes does when the file has been left alone for a second
		pass(110 * time.Millisecond)
		require.Contains(t, w.now(), "tls://c:4224")
		pass(2400 * time.Millisecond)
		w.stands("b:4223 tls://c:4224")

		require.NoError(t, os.Remove(path))
		pass(time.Hour)
		w.stands("b:4223 tls://c:4224")
		put(t, path, "b:4223\n")
		pass(3 * time.Second)
		w.stands("b:4223")
	})
}

func TestAFileMayHaveTheFormOfHostsErlang(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plain":      "# of the test\n\n  a:1  # the first\nb:2\n",
		"CRLF":       "a:1\r\n\r\n# none\r\nb:2\r\n",
		"BOM":        "\xef\xbb\xbfa:1\nb:2\n",
		"erlang":     "% written by hand\n'a:1'.\n'b:2'.\n",
		"no newline": "a:1\nb:2",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			put(t, path, text)
			synctest.Test(t, func(t *testing.T) {
				w := watchFile(t, path)
				pass(3 * time.Second)
				w.stands("a:1 b:2")
				w.warned()
			})
		})
	}
}

// Whoever writes a file in pieces, however small and slow, never makes it lose what it still lists, nor list half an address.
func TestAHalfWrittenFileTakesNothingAway(t *testing.T) {
	const text = "10.0.0.1:4222\n10.0.0.2:4222\n10.0.0.3:42220\n"
	for _, step := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 800 * time.Millisecond} {
		t.Run(step.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "servers")
			put(t, path, text)
			synctest.Test(t, func(t *testing.T) {
				w := watchFile(t, path)
				pass(3 * time.Second)
				for end := range len(text) + 1 {
					put(t, path, text[:end])
					pass(step)
					w.stands("10.0.0.1:4222 10.0.0.2:4222 10.0.0.3:42220")
				}
				pass(3 * time.Second)
				require.Equal(t, w.now(), w.ever(), "nothing else was ever listed")
				w.warned()
			})
		})
	}
}

// A file that is as old as a list by a configuration tool is read to its end at once, with or without a newline there.
func TestAFileThatHasLongBeenThereCountsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	put(t, path, "a:1\nb:2")
	synctest.Test(t, func(t *testing.T) {
		old := time.Now().Add(-time.Minute)
		require.NoError(t, os.Chtimes(path, old, old))
		w := watchFile(t, path)
		pass(0)
		w.stands("a:1 b:2")
	})
}

// As long as somebody writes a file, nothing goes; and it is read no more often than once an interval, and once more for a change.
func TestAFileThatIsWrittenAllTheTimeLetsNothingGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	put(t, path, "a:1\nb:2\n")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		pass(3 * time.Second)
		for i := range 100 {
			later := time.Now().Add(time.Duration(i) * time.Millisecond)
			put(t, path, "a:1\n")
			require.NoError(t, os.Chtimes(path, later, later))
			pass(500 * time.Millisecond)
			w.stands("a:1 b:2")
		}
		pass(3 * time.Second)
		w.stands("a:1")
	})
}

func TestAFileIsReadOnceAnInterval(t *testing.T) {
	for _, interval := range []time.Duration{0, 20 * time.Second} {
		path := filepath.Join(t.TempDir(), "servers")
		put(t, path, "a:1\n")
		synctest.Test(t, func(t *testing.T) {
			lookups := &lookups{}
			opts := []discovery.Option{discovery.WithHooks(lookups)}
			each := time.Second
			if interval > 0 {
				each = interval
				opts = append(opts, discovery.Interval(interval))
			}
			w := watchFile(t, path, opts...)
			pass(1000 * each)
			require.InDelta(t, 1000, lookups.n.Load(), 30)
			put(t, path, "b:1\n")
			before := lookups.n.Load()
			pass(each + each/5 + 2*time.Second)
			w.stands("b:1")
			require.LessOrEqual(t, lookups.n.Load()-before, int64(5))

			require.NoError(t, os.Remove(path))
			before = lookups.n.Load()
			pass(1000 * each)
			require.InDelta(t, 1000, lookups.n.Load()-before, 30, "as often while it fails")
		})
	}
}

func TestAFileIsReplacedByRenaming(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "servers")
	put(t, path, "a:1\nb:1\n")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		pass(3 * time.Second)
		for i := range 50 {
			put(t, path+".new", fmt.Sprintf("a:1\nb:%d\n", i+2))
			require.NoError(t, os.Rename(path+".new", path))
			pass(3500 * time.Millisecond)
			w.stands(fmt.Sprintf("a:1 b:%d", i+2))
		}
		w.warned()
	})
}

// As Kubernetes puts a ConfigMap there: the file is a link to ..data/servers, and ..data a link that is exchanged.
func TestAFileOfAConfigMapIsFollowed(t *testing.T) {
	dir := t.TempDir()
	version := func(n int, text string) {
		to := filepath.Join(dir, fmt.Sprintf("..v%d", n))
		require.NoError(t, os.Mkdir(to, 0o700))
		put(t, filepath.Join(to, "servers"), text)
		require.NoError(t, os.Symlink(filepath.Base(to), filepath.Join(dir, "..new")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
		if n > 0 {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..v%d", n-1))))
		}
	}
	path := filepath.Join(dir, "servers")
	version(0, "a:1\nb:2")
	require.NoError(t, os.Symlink(filepath.Join("..data", "servers"), path))
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		pass(3 * time.Second)
		w.stands("a:1 b:2")
		version(1, "b:2\nc:3")
		pass(3500 * time.Millisecond)
		w.stands("b:2 c:3")
		version(2, "c:3")
		pass(3500 * time.Millisecond)
		w.stands("c:3")
		w.warned()
	})
}

func TestTheFirstFileOfASearchPathCounts(t *testing.T) {
	first, second, third := t.TempDir(), filepath.Join(t.TempDir(), "comes-later"), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, "servers", discovery.SearchPath(first, second, third))
		pass(3 * time.Second)
		w.warned("create it in one of " + strings.Join([]string{first, second, third}, ", "))
		put(t, filepath.Join(third, "servers"), "c:3\n")
		pass(3 * time.Second)
		w.stands("c:3")
		require.NoError(t, os.Mkdir(second, 0o700))
		put(t, filepath.Join(second, "servers"), "b:2\n")
		pass(3500 * time.Millisecond)
		w.stands("b:2")
		put(t, filepath.Join(first, "servers"), "a:1\n")
		pass(3500 * time.Millisecond)
		w.stands("a:1")
		require.NoError(t, os.Remove(filepath.Join(first, "servers")))
		pass(3500 * time.Millisecond)
		w.stands("b:2")
		require.NoError(t, os.RemoveAll(second))
		put(t, second, "a file where a directory was")
		pass(3500 * time.Millisecond)
		w.stands("c:3")
	})
}

func TestTheUsualSearchPath(t *testing.T) {
	work, home := t.TempDir(), t.TempDir()
	t.Chdir(work)
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	config, err := os.UserConfigDir()
	require.NoError(t, err)
	config = filepath.Join(config, "rolebus")
	require.NoError(t, os.MkdirAll(config, 0o700))
	put(t, filepath.Join(config, "nats-servers"), "config:1\n")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, "nats-servers")
		pass(3 * time.Second)
		w.stands("config:1")
		put(t, "nats-servers", "work:1\n")
		pass(3500 * time.Millisecond)
		w.stands("work:1")
	})
}

func TestMistakesAboutAFileAreTold(t *testing.T) {
	for want, s := range map[string]discovery.Strategy{
		"the path is empty":                discovery.File(""),
		"a byte 0":                         discovery.File("a\x00b"),
		"is looked for nowhere else":       discovery.File("/etc/servers", discovery.SearchPath("/etc")),
		"SearchPath: no directories":       discovery.File("servers", discovery.SearchPath()),
		"SearchPath: directory 2 is empty": discovery.File("servers", discovery.SearchPath("/etc", "")),
		"Port 70000: 1 to 65535":           discovery.File("servers", discovery.Port(70000)),
		`unknown scheme "http"`:            discovery.File("servers", discovery.Scheme("http")),
	} {
		require.ErrorContains(t, s.Discover(t.Context(), nil), want)
	}
}

func TestAFileGivesWhatItsLinesDoNotSay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	put(t, path, "a\nwss://b:1\nfe80::1\n")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path, discovery.Port(7), discovery.Scheme("tls"), discovery.Cluster("east"), discovery.TLSName("n.example"))
		pass(3 * time.Second)
		w.stands("tls://[fe80::1]:7 tls://a:7 wss://b:1")
		for _, a := range w.kept.List() {
			require.Equal(t, "east", a.Cluster)
			require.Equal(t, "n.example", a.TLSName)
		}
	})
}
