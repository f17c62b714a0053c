//go:build unix

package discovery_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

const announceIn = "ROLEBUS_TEST_ANNOUNCE_IN"

// The test's own program, started again, announces a server until it is killed.
func init() {
	if dir := os.Getenv(announceIn); dir != "" {
		s := discovery.Local(discovery.Directory(dir)).(discovery.Announcer)
		fmt.Println(s.Announce(context.Background(), []discovery.Address{{Host: "child", Port: 1}}))
		os.Exit(1)
	}
}

func startChild(t *testing.T, dir string) *os.Process {
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), announceIn+"="+dir)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
	})
	return cmd.Process
}

func TestWhoWasKilledIsGoneAndCleanedUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := watchLocal(t, dir)
	announce(t, local(dir), "a:1")
	child := startChild(t, dir)
	w.eventually("a:1 child:1")

	require.NoError(t, child.Signal(syscall.SIGSTOP)) // frozen is not dead
	looks := w.looks()
	w.until(func() bool { return w.looks() > looks+20 }, "20 more looks")
	w.stands("a:1 child:1")

	require.NoError(t, child.Kill())
	w.eventually("a:1")
	w.until(func() bool { return len(files(t, dir)) == 1 }, "removed")
}

// nobody is another user, of whom nothing runs here.
const nobody = 65534

// What lies among the announcements and is none is told once, and left alone; it keeps nothing from coming and going.
func TestWhatIsNoAnnouncementIsLeftAlone(t *testing.T) {
	t.Parallel()
	entry, err := discovery.EncodeEntry(1, addresses(t, "6.6.6.6:6"))
	require.NoError(t, err)
	outside := t.TempDir()
	put(t, filepath.Join(outside, "entry"), string(entry))
	cases := map[string]struct {
		make func(path string) error
		told string
	}{
		"symbolic link":   {func(path string) error { return os.Symlink(filepath.Join(outside, "entry"), path) }, "no regular file but a symbolic link"},
		"link to nothing": {func(path string) error { return os.Symlink(filepath.Join(outside, "not"), path) }, "no regular file but a symbolic link"},
		"hard link":       {func(path string) error { return os.Link(filepath.Join(outside, "entry"), path) }, "it has several names (hard links)"},
		"named pipe":      {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "no regular file but a named pipe"},
		"directory":       {func(path string) error { return os.Mkdir(path, 0o700) }, "no regular file but a directory"},
		"socket": {func(path string) error {
			short := filepath.Join(os.TempDir(), fmt.Sprintf("rolebus-test-%d", os.Getpid())) // a socket's path must be short
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
			if err != nil {
				return err
			}
			l.SetUnlinkOnClose(false)
			l.Close()
			return os.Rename(short, path)
		}, "no regular file but a socket"},
		"other name": {func(path string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(path), "notes.json"), entry, 0o600)
		}, "notes.json: it has another name"},
	}
	if os.Geteuid() == 0 {
		cases["another user's"] = struct {
			make func(path string) error
			told string
		}{func(path string) error {
			if err := os.WriteFile(path, entry, 0o644); err != nil {
				return err
			}
			return os.Chown(path, nobody, nobody)
		}, "it belongs to another user"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			announce(t, local(dir), "a:1")
			gone := announce(t, local(dir), "b:2")
			watchLocal(t, dir).eventually("a:1 b:2")
			w := watchLocal(t, dir)
			w.eventually("a:1 b:2")
			require.NoError(t, c.make(filepath.Join(dir, "1-0123456789abcdef.json")))
			w.until(func() bool { return len(w.warnings()) > 0 }, "a warning")
			gone()
			w.eventually("a:1")
			w.warned("directory " + dir)
			w.warned(c.told)
			w.warned("it is left alone, and of no use there: remove it")
			require.Len(t, files(t, dir), 2, "it is still there")
			require.NotContains(t, w.ever(), "6.6.6.6:6")
		})
	}
}

// A directory to which others may write, or which is no directory, or another user's, is not used: neither read nor written.
func TestADirectoryThatOthersMayWriteIsNotUsed(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		make   func(dir string) error
		told   string
		reason discovery.Reason
	}{
		"open to others":   {func(dir string) error { return os.Chmod(dir, 0o777) }, "other users may write to it (chmod go-w", discovery.ReasonForbidden},
		"open to a group":  {func(dir string) error { return os.Chmod(dir, 0o770) }, "other users may write to it", discovery.ReasonForbidden},
		"open, but sticky": {func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, "other users may write to it", discovery.ReasonForbidden},
		"a file": {func(dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.WriteFile(dir, nil, 0o600)
		}, "it is no directory (remove it, or give another", discovery.ReasonMalformed},
	}
	if os.Geteuid() == 0 {
		cases["another user's"] = struct {
			make   func(dir string) error
			told   string
			reason discovery.Reason
		}{func(dir string) error { return os.Chown(dir, nobody, nobody) }, "it belongs to another user (remove it, or give another", discovery.ReasonForbidden}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "registry")
			require.NoError(t, os.Mkdir(dir, 0o700))
			w := watchLocal(t, dir)
			stop := announce(t, local(dir), "a:1")
			w.eventually("a:1")
			stop()
			require.NoError(t, c.make(dir))
			require.ErrorContains(t, w.failed(c.reason), "directory "+dir+": "+c.told)
			w.stands("a:1")
			err := local(dir).(discovery.Announcer).Announce(t.Context(), addresses(t, "b:2"))
			require.ErrorContains(t, err, "announce: directory "+dir+": "+c.told)
			require.NoError(t, os.RemoveAll(dir))
			announce(t, local(dir), "c:3")
			w.eventually("c:3")
		})
	}
}

func TestTheUsualDirectory(t *testing.T) {
	name := func() string { return strings.TrimPrefix(fmt.Sprint(discovery.Local()), "Local ") }
	temp, run := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	own := filepath.Join(temp, fmt.Sprintf("rolebus-%d", os.Geteuid()))
	for _, none := range []string{"", "relative", filepath.Join(temp, "not-there"), os.Args[0]} {
		t.Setenv("XDG_RUNTIME_DIR", none)
		require.Equal(t, own, name(), "for %q", none)
	}
	t.Setenv("XDG_RUNTIME_DIR", run)
	require.Equal(t, filepath.Join(run, "rolebus"), name())
	if os.Geteuid() == 0 { // as after su, which keeps the variable
		require.NoError(t, os.Chown(run, nobody, nobody))
		require.Equal(t, own, name())
	}

	// Where all may write, a link may be somebody else's; nothing is written where it points to.
	t.Setenv("XDG_RUNTIME_DIR", "")
	require.NoError(t, os.Symlink(run, own))
	err := discovery.Local().(discovery.Announcer).Announce(t.Context(), addresses(t, "a:1"))
	require.ErrorContains(t, err, "it is no directory")
	require.Empty(t, files(t, run))
	require.NoError(t, os.Remove(own))
	w := watch(t, func(seen ...discovery.Option) discovery.Strategy {
		return discovery.Local(append(seen, discovery.Interval(20*time.Millisecond))...)
	})
	announce(t, discovery.Local(), "a:1")
	w.eventually("a:1")
}

// What fails in passing is tried again: here a directory that cannot be made yet.
func TestAnAnnouncementIsTriedAgain(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "parent")
	put(t, parent, "a file where a directory will be")
	dir := filepath.Join(parent, "registry")
	told := &announcements{}
	announce(t, local(dir, discovery.WithHooks(told)), "a:1")
	w := watchLocal(t, dir)
	w.until(func() bool { return told.failure() != nil }, "told")
	require.ErrorContains(t, told.failure(), "directory "+dir)
	require.NoError(t, os.Remove(parent))
	w.eventually("a:1")
}
