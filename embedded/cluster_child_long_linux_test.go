//go:build long

package embedded_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/internal/skew"
)

// Of a child: the town's directory, and whether its store is on a small disk.
const (
	childOf   = "ROLEBUS_TEST_CHILD_OF"
	smallDisk = "ROLEBUS_TEST_SMALL_DISK"
)

func init() {
	if dir := os.Getenv(childOf); dir != "" {
		if err := errors.Join(skew.Attach(), child(dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// child is the process p2 of a town. Its state is in the file "state", and it ends when the file "end" is there. A small disk is one of its own, of
// 24 MiB, in a mount namespace of its own; while the file "fill" is there, so is one on that disk that takes all room.
func child(dir string) error {
	disk := filepath.Join(dir, "disk")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		return err
	}
	if os.Getenv(smallDisk) != "" {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("mounts of its own: %w", err)
		}
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
			return fmt.Errorf("a disk of its own: %w", err)
		}
	}
	t := &told{}
	c, err := embedded.Cluster(context.Background(), discovery.Local(discovery.Directory(filepath.Join(dir, "local")), discovery.Interval(100*time.Millisecond)),
		embedded.WithSize(3), embedded.WithName("p2"), embedded.WithStoreDir(filepath.Join(disk, "store")), embedded.WithHooks(t),
		embedded.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	full := filepath.Join(disk, "full")
	for tick := time.NewTicker(20 * time.Millisecond); !there("end"); <-tick.C {
		switch {
		case os.Getenv(smallDisk) == "":
		case there("fill"):
			fill(full)
		default:
			_ = os.Remove(full)
		}
		text, err := json.Marshal(struct {
			State embedded.ClusterState
			Left  []embedded.LeftInfo
		}{c.State(), of(t, &t.left)})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "state.new"), text, 0o600); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, "state.new"), filepath.Join(dir, "state")); err != nil {
			return err
		}
	}
	return c.Close()
}

// fill takes all room that there is.
func fill(path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if n, err := f.Write(make([]byte, size)); err != nil || n < size {
			size /= 2
		}
	}
}

// bear runs a child of a town until the test ends, and returns what waits for its state.
func (town *town) bear(t *testing.T, flags uintptr, env ...string) (await func(what string, is func(embedded.ClusterState) bool)) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), childOf+"="+town.dir), env...)
	log := &lockedBuffer{}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags != 0 && os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if err := os.WriteFile(filepath.Join(town.dir, "end"), nil, 0o600); err != nil {
			t.Error(err)
		}
		kill := time.AfterFunc(long, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("the child: %v\n%s", err, log)
		}
	})
	return func(what string, is func(embedded.ClusterState) bool) {
		t.Helper()
		var text []byte
		until(t, func() bool {
			var at struct {
				State embedded.ClusterState
				Left  []embedded.LeftInfo
			}
			var err error
			text, err = os.ReadFile(filepath.Join(town.dir, "state"))
			return err == nil && json.Unmarshal(text, &at) == nil && len(at.Left) == 0 && is(at.State)
		}, func() string { return what + ": " + string(text) + "\n" + log.String() })
	}
}

func TestMemberWhoseDiskIsFullComesBack(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	awaitChild := town.bear(t, syscall.CLONE_NEWNS, smallDisk+"=1")
	one, two := town.begin(t, "p0"), town.begin(t, "p1")
	ready(t, one)
	ready(t, two)
	awaitChild("a member", isMember)
	canary := sing(t, one)
	canary.more(t, 50)

	mark := filepath.Join(town.dir, "fill")
	require.NoError(t, os.WriteFile(mark, nil, 0o600))
	awaitChild("to say that its disk is full", func(s embedded.ClusterState) bool {
		return strings.Contains(s.Waiting, "whether the disk is full") && !s.Ready
	})
	canary.more(t, 100)
	await(t, one, "to go on", func(s embedded.ClusterState) bool { return s.Ready && s.Leader != "" })

	require.NoError(t, os.Remove(mark))
	awaitChild("a member again, with its store", isMember)
	canary.end(t)
	await(t, one, "whole", whole(3))
}
