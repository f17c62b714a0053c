package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
	"github.com/rolebus/rolebus/embedded"
)

func TestMain(m *testing.M) {
	process.Main(parts)
	goleak.VerifyTestMain(m)
}

// ownTemp gives the test its own directory for what the program leaves behind, and checks that it is nothing.
func ownTemp(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// Every system does every work, and comes out with numbers. What they are is not a matter of tests.
func TestEveryWorkOnce(t *testing.T) {
	ownTemp(t)
	dir := t.TempDir()
	var out bytes.Buffer
	args := []string{"-quick", "-json", filepath.Join(dir, "out.json"), "-svg", filepath.Join(dir, "out.svg")}
	require.NoError(t, run(t.Context(), args, &out, io.Discard))

	raw, err := os.ReadFile(filepath.Join(dir, "out.json"))
	require.NoError(t, err)
	var report result.Report
	require.NoError(t, json.Unmarshal(raw, &report))
	require.True(t, report.Quick)
	require.Subset(t, slices.Collect(maps.Keys(report.Modules)), modules, "all versions are known")

	rows := map[string]map[string]int{}
	for _, r := range report.Rows {
		require.Positive(t, r.Median, "%+v", r)
		require.Positive(t, r.Samples, "%+v", r)
		require.Contains(t, out.String(), r.System)
		if rows[r.Work] == nil {
			rows[r.Work] = map[string]int{}
		}
		rows[r.Work][r.System]++
	}
	require.Equal(t, wantRows(), rows)

	drawn, err := os.ReadFile(filepath.Join(dir, "out.svg"))
	require.NoError(t, err)
	require.Contains(t, string(drawn), "Serf, 10 agents")
}

// wantRows says how many rows each system has in each work.
func wantRows() map[string]map[string]int {
	want := map[string]map[string]int{"read": {}, "change": {}, "gone": {}, "catchup": {}, "bystander": {}, "call": {}}
	for _, s := range readSystems {
		want["read"][s.name] = len(readShapes) * len(readWays)
	}
	for _, s := range changeSystems {
		want["change"][s.name] = 1
		if s.waits {
			want["change"][s.name] = 2
		}
	}
	for _, s := range goneSystems {
		if !s.slow {
			want["gone"][s.name] = 1
		}
	}
	for _, s := range catchUpSystems {
		want["catchup"][s.name] = 1
	}
	for _, s := range bystanderSystems {
		want["bystander"][s.name] = 2
		if s.role == result.Floor {
			want["bystander"][s.name] = 1
		}
	}
	for _, s := range callSystems {
		want["call"][s.name] = 4 * len(callSizes)
	}
	return want
}

// Ctrl-C, in the middle of a work, leaves no process, no goroutine and no file.
func TestInterrupted(t *testing.T) {
	ownTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := run(ctx, []string{"-only", "change"}, io.Discard, &trigger{word: "blocks", pull: cancel})
	require.ErrorIs(t, err, context.Canceled)
}

// trigger is a progress line that does something when a word comes by.
type trigger struct {
	word string
	pull func()
	once sync.Once
}

func (tr *trigger) Write(p []byte) (int, error) {
	if strings.Contains(string(p), tr.word) {
		tr.once.Do(tr.pull)
	}
	return len(p), nil
}

func TestWrongFlagsSayWhatIsRight(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-only", "nothing"}, "matches no work"},
		{[]string{"-only", "("}, "missing closing"},
		{[]string{"-runs", "0"}, "give 1 to 100"},
		{[]string{"read"}, "not a flag"},
	} {
		require.ErrorContains(t, run(t.Context(), tc.args, io.Discard, io.Discard), tc.want)
	}
}

func TestHelpNamesEveryWorkAndFlag(t *testing.T) {
	var help bytes.Buffer
	_, err := parse([]string{"--help"}, &help)
	require.Error(t, err)
	for _, w := range works {
		require.Contains(t, help.String(), w.name)
	}
	for _, flag := range []string{"-only", "-runs", "-quick", "-json", "-svg"} {
		require.Contains(t, help.String(), flag)
	}
}

// A comparison of records of different sizes would compare the sizes.
func TestRecordsHaveOneSize(t *testing.T) {
	require.Len(t, record(5), recordSize)
	srv, err := embedded.Start()
	require.NoError(t, err)
	defer func() { require.NoError(t, srv.Close()) }()
	w, err := writeRolebus(t.Context(), srv.URL())
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	require.NoError(t, w.write(t.Context(), 1))

	nc, js, err := dial(srv.URL())
	require.NoError(t, err)
	defer nc.Close()
	kv, err := js.KeyValue(t.Context(), "rolebus")
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), "default.writer")
	require.NoError(t, err)
	require.Len(t, entry.Value(), recordSize)
}
