package discovery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/filelock"
	"github.com/stretchr/testify/require"
)

func local(dir string, opts ...discovery.Option) discovery.Strategy {
	return discovery.Local(append([]discovery.Option{discovery.Directory(dir), discovery.Interval(20 * time.Millisecond)}, opts...)...)
}

func watchLocal(t *testing.T, dir string) *watched {
	return watch(t, func(seen ...discovery.Option) discovery.Strategy { return local(dir, seen...) })
}

// announce announces until the function is called that it returns.
func announce(t *testing.T, s discovery.Strategy, texts ...string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.(discovery.Announcer).Announce(ctx, addresses(t, texts...)) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	return stop
}

func addresses(t *testing.T, texts ...string) []discovery.Address {
	var all []discovery.Address
	for _, text := range texts {
		a, err := discovery.ParseAddress(text)
		require.NoError(t, err)
		all = append(all, a)
	}
	return all
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// live puts a file as of a process that runs, with any text, until it is closed.
func live(t *testing.T, path, text string) *os.File {
	file, err := filelock.Create(path)
	require.NoError(t, err)
	_, err = file.WriteString(text)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}

func TestServersOfThisMachineAreFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "rolebus")
	w := watchLocal(t, dir)
	require.ErrorContains(t, w.failed(discovery.ReasonEmpty), "no process of this user has announced a server there")
	first := announce(t, local(dir), "127.0.0.1:4222", "nats-route://127.0.0.1:6222")
	w.eventually("127.0.0.1:4222 nats-route://127.0.0.1:6222")
	second := announce(t, local(dir), "tls://127.0.0.1:4223")
	w.eventually("127.0.0.1:4222 nats-route://127.0.0.1:6222 tls://127.0.0.1:4223")
	first()
	w.eventually("tls://127.0.0.1:4223")
	second()
	require.Empty(t, files(t, dir))
	w.until(func() bool { return strings.Contains(strings.Join(w.warnings(), ""), "no process that runs") }, "it says that there is none")
	w.stands("tls://127.0.0.1:4223") // the last stays
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077, "for this user alone")
}

// What is known of an address comes through.
func TestAnAnnouncementSaysAllOfAnAddress(t *testing.T) {
	dir := t.TempDir()
	want := discovery.Address{Host: "::1", Port: 4222, Scheme: "tls", Route: true, Server: "s", Cluster: "c", TLSName: "n", Priority: 1, Weight: 2}
	text, err := discovery.EncodeEntry(4711, []discovery.Address{want, {Host: "nats.example"}})
	require.NoError(t, err)
	golden, err := os.ReadFile("testdata/local-v1.json")
	require.NoError(t, err)
	require.Equal(t, string(golden), string(text))
	live(t, filepath.Join(dir, "4711-0123456789abcdef.json"), string(golden))
	w := watchLocal(t, dir)
	w.until(func() bool { return len(w.now()) == 2 }, "both")
	require.Equal(t, want, w.kept.List()[0])
}

// A file without a lock is of nobody who runs, whatever process id it has: it is removed, and so is one that was not finished.
func TestAForgedAnnouncementIsRemoved(t *testing.T) {
	dir := t.TempDir()
	text, err := discovery.EncodeEntry(os.Getppid(), addresses(t, "6.6.6.6:4222"))
	require.NoError(t, err)
	for _, name := range []string{"%d-0123456789abcdef.json", "%d-0123456789abcdef.json.new"} {
		path := filepath.Join(dir, fmt.Sprintf(name, os.Getppid()))
		put(t, path, string(text))
		old := time.Now().Add(-time.Hour)
		require.NoError(t, os.Chtimes(path, old, old))
	}
	young := "1-0123456789abcdef.json.new" // may be without a lock for a moment
	put(t, filepath.Join(dir, young), "")
	stop := announce(t, local(dir), "127.0.0.1:4222")
	w := watchLocal(t, dir)
	w.eventually("127.0.0.1:4222")
	w.until(func() bool { return len(files(t, dir)) == 2 }, "removed")
	require.Equal(t, w.now(), w.ever())
	stop()
	require.Equal(t, []string{young}, files(t, dir))
}

// Who removes what was left behind never removes an announcement of who runs, however many come, go and look at once.
func TestNobodyWhoRunsIsTakenForEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := watchLocal(t, dir)
	announce(t, local(dir), "127.0.0.1:1")
	w.eventually("127.0.0.1:1")
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 4 {
		all.Go(func() { // looks all the time
			_ = local(dir, discovery.Interval(10*time.Millisecond)).Discover(ctx, func([]discovery.Address, error) {})
		})
	}
	var announcing sync.WaitGroup
	for i := range 8 {
		announcing.Go(func() {
			for range 30 {
				short, stop := context.WithTimeout(ctx, time.Duration(rand.IntN(20))*time.Millisecond)
				told := &announcements{}
				s := local(dir, discovery.WithHooks(told))
				if err := s.(discovery.Announcer).Announce(short, addresses(t, fmt.Sprintf("127.0.0.1:%d", i+2))); err != nil {
					t.Error(err)
				}
				stop()
				if err := told.failure(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	announcing.Wait()
	cancel()
	all.Wait()
	require.Len(t, files(t, dir), 1)
}

type announcements struct {
	mu  sync.Mutex
	n   int
	err error
}

func (a *announcements) OnAnnounced(info discovery.AnnouncedInfo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	if info.Err != nil {
		a.err = info.Err
	}
}

func (a *announcements) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

func TestAnAnnouncementThatWasRemovedIsWrittenAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "registry")
	told := &announcements{}
	stop := announce(t, local(dir, discovery.WithHooks(told)), "127.0.0.1:4222")
	w := watchLocal(t, dir)
	w.eventually("127.0.0.1:4222")
	first := files(t, dir)[0]
	require.NoError(t, os.RemoveAll(dir))
	w.until(func() bool {
		entries, _ := os.ReadDir(dir)
		return len(entries) == 1 && entries[0].Name() != first
	}, "written again")
	w.until(func() bool { return told.failure() != nil }, "told")
	require.ErrorContains(t, told.failure(), "removed by somebody")
	w.stands("127.0.0.1:4222")
	stop()
	require.Empty(t, files(t, dir))
}

// What a process that runs writes, and cannot be read, keeps what stands from going, as there is somebody; it is told, the others count.
func TestAnAnnouncementThatCannotBeReadIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, told string }{
		"no JSON":     {"hello", "it is not the JSON of an announcement"},
		"cut":         {`{"version":1,"addresses":[{"host":"x"`, "it is not the JSON of an announcement"},
		"other types": {`{"version":1,"addresses":[{"host":7}]}`, "it is not the JSON of an announcement"},
		"empty":       {"", "it is not the JSON of an announcement"},
		"null":        {"null", "it has version 0, and known is 1"},
		"newer":       {`{"version":2,"servers":[]}`, "it has version 2, and known is 1"},
		"no address":  {`{"version":1,"addresses":[]}`, "it has no address"},
		"bad address": {`{"version":1,"addresses":[{"host":"b","port":2},{"host":"a b"}]}`, `host \"a b\" is neither a name nor an IP address`},
		"huge":        {`{"version":1,` + strings.Repeat(" ", 64<<10) + `"addresses":[]}`, "it is too large: more than 64 KiB"},
		"binary":      {"\x00\xff\x00", "it is not the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := watchLocal(t, dir)
			announce(t, local(dir), "a:1")
			gone := announce(t, local(dir), "z:9")
			w.eventually("a:1 z:9")
			bad := live(t, filepath.Join(dir, "7-00000000000000ff.json"), c.text)
			w.until(func() bool { return strings.Contains(strings.Join(w.warnings(), ""), c.told) }, "%s", c.told)
			require.ErrorContains(t, w.failed(discovery.ReasonMalformed), "7-00000000000000ff.json: ")
			gone()
			announce(t, local(dir), "c:3")
			w.until(func() bool { return strings.Contains(strings.Join(w.now(), " "), "c:3") }, "c:3")
			require.Subset(t, w.now(), []string{"a:1", "c:3", "z:9"})
			require.NoError(t, bad.Close())
			w.eventually("a:1 c:3")
			require.Len(t, files(t, dir), 2)
		})
	}
}

func TestTenThousandFilesLeftBehindAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 10_000 {
		put(t, filepath.Join(dir, fmt.Sprintf("%d-%016x.json", i+2, i)), "{}")
	}
	announce(t, local(dir), "a:1")
	w := watchLocal(t, dir)
	w.eventually("a:1")
	w.until(func() bool { return len(files(t, dir)) == 1 }, "removed")
}

// A directory in which there are more files than anybody reads: the rest may have what is missing, so nothing goes.
func TestADirectoryWithTooManyFilesLetsNothingGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := watchLocal(t, dir)
	gone := announce(t, local(dir), "a:1")
	w.eventually("a:1")
	for i := range 1<<14 + 10 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.txt", i)), nil, 0o600))
	}
	require.ErrorContains(t, w.failed(discovery.ReasonMalformed), "it has more than 16384 files")
	gone()
	announce(t, local(dir), "b:2")
	w.stands("a:1")
}

func TestALocalDirectoryIsReadOnceAnInterval(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		lookups := &lookups{}
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Second)
		defer cancel()
		_ = discovery.Local(discovery.Directory(dir), discovery.WithHooks(lookups)).Discover(ctx, func([]discovery.Address, error) {})
		synctest.Wait()
		require.InDelta(t, 1000, lookups.n.Load(), 30)
	})
}

func TestMistakesAboutLocalAreTold(t *testing.T) {
	for want, s := range map[string]discovery.Strategy{
		"Directory: it is empty":          discovery.Local(discovery.Directory("")),
		"Directory: it has a byte 0":      discovery.Local(discovery.Directory("a\x00")),
		"it does not take SearchPath":     discovery.Local(discovery.SearchPath("/tmp")),
		"it does not take Port":           discovery.Local(discovery.Port(4222)),
		"File a: it does not take Direct": discovery.File("a", discovery.Directory("/tmp")),
	} {
		err := s.Discover(t.Context(), nil)
		require.ErrorContains(t, err, want)
	}
	a := discovery.Local(discovery.Directory(t.TempDir())).(discovery.Announcer)
	require.ErrorContains(t, a.Announce(t.Context(), nil), "no address to announce")
	require.ErrorContains(t, a.Announce(t.Context(), []discovery.Address{{}}), "it has no host")
	many := make([]discovery.Address, 10_000)
	for i := range many {
		many[i] = discovery.Address{Host: fmt.Sprintf("n%d", i)}
	}
	require.ErrorContains(t, a.Announce(t.Context(), many), "10000 addresses are too many: no more than 64 KiB")
}
