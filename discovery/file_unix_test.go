//go:build unix

package discovery_test

import (
	"bufio"
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
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A named pipe in place of a file blocks nobody, and is not opened, nor is a device.
func TestWhatIsNoRegularFileIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "servers")
	w := watchFile(t, path, discovery.Interval(20*time.Millisecond))
	for told, make := range map[string]func() error{
		"a named pipe": func() error { return syscall.Mkfifo(path, 0o600) },
		"a device":     func() error { return os.Symlink("/dev/zero", path) },
		"a socket": func() error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				l.Close()
			}
			return err
		},
	} {
		require.NoError(t, make())
		w.until(func() bool {
			return strings.Contains(strings.Join(w.warnings(), ""), "it is no regular file but "+told+" (put a regular file there")
		}, "%s", told)
		require.NoError(t, os.Remove(path))
	}
	put(t, path, "a:1\n")
	w.eventually("a:1")
}

const followFile = "ROLEBUS_TEST_FOLLOW_FILE"

// The test's own program, started again, says what it learns of a file.
func init() {
	if path := os.Getenv(followFile); path != "" {
		s := discovery.File(path, discovery.Interval(20*time.Millisecond))
		fmt.Println(s.Discover(context.Background(), func(list []discovery.Address, err error) {
			fmt.Println(list, discovery.ReasonOf(err), err)
		}))
		os.Exit(1)
	}
}

// follower follows a file as a user who is not allowed all, and says what it learns line by line.
func follower(t *testing.T, dir, path string) *bufio.Scanner {
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program)
	if os.Geteuid() == 0 {
		text, err := os.ReadFile(program)
		require.NoError(t, err)
		cmd.Path = filepath.Join(dir, "follower") // where nobody may run it
		require.NoError(t, os.WriteFile(cmd.Path, text, 0o755))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	cmd.Env = append(os.Environ(), followFile+"="+path)
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }) // then the lines end
	t.Cleanup(func() {
		late.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out)
}

func TestAFileThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	for name, closed := range map[string]string{"the file": "servers", "its directory": "."} {
		t.Run(name, func(t *testing.T) {
			top, err := os.MkdirTemp("", "rolebus-test-")
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, os.RemoveAll(top)) })
			require.NoError(t, os.Chmod(top, 0o755))
			dir := filepath.Join(top, "etc")
			require.NoError(t, os.Mkdir(dir, 0o755))
			path := filepath.Join(dir, "servers")
			require.NoError(t, os.WriteFile(path, []byte("a:1\n"), 0o644))
			require.NoError(t, os.Chmod(filepath.Join(dir, closed), 0))
			t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
			lines := follower(t, top, path)
			next := func(parts ...string) {
				for lines.Scan() {
					missing := false
					for _, part := range parts {
						missing = missing || !strings.Contains(lines.Text(), part)
					}
					if !missing {
						return
					}
				}
				t.Fatalf("it never said %q", parts)
			}
			next("[]", "forbidden", "file "+path, "permission denied (let the user of this process read it")
			require.NoError(t, os.Chmod(filepath.Join(dir, closed), 0o755))
			next("nats://a:1")
			require.NoError(t, os.Chmod(filepath.Join(dir, closed), 0))
			next("[]", "forbidden")
		})
	}
}
