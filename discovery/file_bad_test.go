package discovery_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/found"
	"github.com/stretchr/testify/require"
)

// lookups counts lookups.
type lookups struct{ n atomic.Int64 }

func (l *lookups) OnLookup(discovery.LookupInfo) { l.n.Add(1) }

// What a file may become: each is told once, with the file and what to do; nothing of it takes anything away; and when it is well again it
// counts again.
func TestWhatBecomesOfAFileTakesNothingAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text   string
		make   func(t *testing.T, path string)
		stands string // beside a:1
		told   string
		reason discovery.Reason
	}{
		"deleted":        {make: func(*testing.T, string) {}, told: "file does not exist (create it", reason: discovery.ReasonNotFound},
		"empty":          {text: "", told: "it lists no address (write addresses into it", reason: discovery.ReasonEmpty},
		"blank":          {text: "\n \r\n\t\n", told: "it lists no address (write", reason: discovery.ReasonEmpty},
		"comments":       {text: "# a:1\n% b:1", told: "it lists no address (write", reason: discovery.ReasonEmpty},
		"garbage":        {text: "\x00\x01\x02\xff\xfe\n", told: "it is no text (is it the right file", reason: discovery.ReasonMalformed},
		"Latin-1":        {text: "b\xf6se:1\n", told: "it is no text", reason: discovery.ReasonMalformed},
		"UTF-16 LE":      {text: "\xff\xfeb\x00:\x001\x00\n\x00", told: "it is UTF-16 (save it as UTF-8)", reason: discovery.ReasonMalformed},
		"UTF-16 BE":      {text: "\xfe\xff\x00b\x00:\x001\x00\n", told: "it is UTF-16", reason: discovery.ReasonMalformed},
		"a page of HTML": {text: "<html>\n<b>Sign in</b>\nhtml\n</html>\n", stands: " html:4222", told: "line 1: address", reason: discovery.ReasonMalformed},
		"a bad line":     {text: "b:2\n\nc:x\nd:4\n", stands: " b:2 d:4", told: `line 3: address \"c:x\": it is neither host:port`, reason: discovery.ReasonMalformed},
		"several":        {text: "b:x\nc:x\nd:x\ne:x\nf:x\n", told: "line 3: address", reason: discovery.ReasonMalformed},
		"many":           {text: strings.Repeat("b:x\n", 10_000), told: "; and 9997 more (mend", reason: discovery.ReasonMalformed},
		"a password":     {text: "nats://u:secret@b:2\n", told: "line 1: an address has no user and no password", reason: discovery.ReasonMalformed},
		"two in a line":  {text: "b:2, c:3\n", told: "line 1: address", reason: discovery.ReasonMalformed},
		"a directory": {make: func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
			told: "it is no regular file but a directory (put a regular file there", reason: discovery.ReasonMalformed},
		"a link to itself": {make: func(t *testing.T, path string) { require.NoError(t, os.Symlink(path, path)) },
			told: "file " /* as the system says it */, reason: discovery.ReasonOther},
		"a link to nothing": {make: func(t *testing.T, path string) { require.NoError(t, os.Symlink(path+".not", path)) },
			told: "file does not exist (create it", reason: discovery.ReasonNotFound},
		"1 GB": {make: func(t *testing.T, path string) {
			put(t, path, "b:2\n")
			require.NoError(t, os.Truncate(path, 1<<30))
		}, told: "it is too large: more than 1024 KiB (is it the right file", reason: discovery.ReasonMalformed},
		"too long by one": {text: strings.Repeat("#", 1<<20) + "\n", told: "it is too large", reason: discovery.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "servers")
			put(t, path, "a:1\n")
			synctest.Test(t, func(t *testing.T) {
				w := watchFile(t, path)
				pass(3 * time.Second)
				w.stands("a:1")
				require.NoError(t, os.Remove(path))
				if c.make == nil {
					put(t, path, c.text)
				} else {
					c.make(t, path)
				}
				pass(5 * time.Second)
				w.stands("a:1" + c.stands)
				w.warned("file " + path)
				w.warned(c.told)
				require.NotContains(t, w.warnings()[0], "secret")
				require.Equal(t, c.reason, discovery.ReasonOf(w.failed(c.reason)))
				pass(time.Hour)
				w.stands("a:1" + c.stands)
				require.Less(t, len(w.warnings()), 20, "told at growing intervals")

				require.NoError(t, os.RemoveAll(path))
				put(t, path, "z:9\n")
				pass(3500 * time.Millisecond)
				w.stands("z:9")
			})
		})
	}
}

// The longest file that is read.
func TestAFileOfAMegabyteIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	put(t, path, strings.Repeat("#", 1<<20-len("\na:1\n"))+"\na:1\n")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		pass(3 * time.Second)
		w.stands("a:1")
		w.warned()
	})
}

// Of ten thousand addresses as many are used as are of use, which is said once; of those always the same.
func TestAFileWithTenThousandAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "nats-%d.example:4222\n", i)
	}
	put(t, path, text.String())
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		pass(5 * time.Second)
		require.Len(t, w.now(), found.Most)
		w.warned("it lists too many addresses")
		put(t, path, text.String()[strings.Index(text.String(), "\n")+1:])
		pass(5 * time.Second)
		require.Len(t, w.now(), found.Most)
		require.Len(t, w.ever(), found.Most+1, "one went, one came")
	})
}

// A list of one, which may be oneself, is a list; the same twice is once.
func TestAFileMayListOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	put(t, path, "a:1\nb:2\n")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		pass(3 * time.Second)
		put(t, path, "127.0.0.1:4222\n127.0.0.1:4222\nnats://127.0.0.1:4222\n")
		pass(3500 * time.Millisecond)
		require.Subset(t, w.now(), []string{"127.0.0.1:4222"})
		require.NotContains(t, w.now(), "a:1")
		w.warned()
	})
}

// An hour of all kinds of trouble, each after the other.
func TestAnHourOfTroubleWithAFileChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "servers")
	put(t, path, "a:1\nb:2\n")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		pass(3 * time.Second)
		trouble := []func(){
			func() { put(t, path, "") },
			func() { put(t, path, "a:1\nb:") },
			func() { put(t, path, "\x00") },
			func() { require.NoError(t, os.Mkdir(path, 0o700)) },
			func() { require.NoError(t, os.Symlink("/dev/zero", path)) },
			func() {},
		}
		for i := range 360 {
			require.NoError(t, os.RemoveAll(path))
			trouble[i%len(trouble)]()
			pass(10 * time.Second)
			w.stands("a:1 b:2")
		}
	})
}

// Lines never panic, and give only addresses that are some.
func FuzzLines(f *testing.F) {
	f.Add("a:1\n'b:2'.\n#\n%\n\xef\xbb\xbf", true)
	f.Add("tls://[::1]:4222 # x\r\n'.\n''.\n'", false)
	f.Fuzz(func(t *testing.T, text string, whole bool) {
		list, _ := discovery.Lines(text, whole)
		for _, a := range list {
			require.NoError(t, a.Check())
		}
	})
}
