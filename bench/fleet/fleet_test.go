package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if kind, ok := os.LookupEnv(kindOfProcess); ok {
		os.Exit(childMain(kind))
	}
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // else each child takes a second to end
	}
	goleak.VerifyTestMain(m)
}

// What is measured is there, and more than nothing. How much it is, is no test.
func TestQuick(t *testing.T) {
	dir := t.TempDir()
	jsonFile, svgFile := filepath.Join(dir, "fleet.json"), filepath.Join(dir, "fleet.svg")
	var tables, said bytes.Buffer
	status := fleetMain(t.Context(), []string{"-quick", "-ttl", "1s", "-idle", "1s", "-json", jsonFile, "-svg", svgFile}, &tables, &said)
	require.Zero(t, status, "%s", &said)

	raw, err := os.ReadFile(jsonFile)
	require.NoError(t, err)
	var r report
	require.NoError(t, json.Unmarshal(raw, &r))
	require.Positive(t, r.Machine.Cores)
	requireChanges(t, r.TwoProcesses, 20)
	require.Len(t, r.Fleets, 1)
	f := r.Fleets[0]
	require.Equal(t, 10, f.Buses)
	require.Positive(t, f.Join.Connected)
	require.Positive(t, f.Join.InSync)
	require.Positive(t, f.Memory.Heap)
	require.Positive(t, f.Leave.Closed)
	require.Positive(t, f.Leave.Gone)
	requireChanges(t, f.Changes, 20)
	require.Positive(t, f.Changes[0].PerTwo)
	require.Len(t, f.Idle, 2)
	for i, row := range f.Idle {
		require.Equal(t, i == 0, row.Probes)
		require.Equal(t, f.Buses+1, row.Nodes)
		for _, v := range []float64{row.ServerCPU, row.Stored, row.In, row.Out, row.BusCPU, row.BystanderCPU, row.BystanderIn, row.BystanderOut} {
			require.Positive(t, v)
		}
	}
	require.Len(t, r.Records, 1)
	s := r.Records[0]
	require.Equal(t, 1000, s.Records)
	require.Equal(t, recordChanges, s.Changes)
	require.Equal(t, burstChanges, s.Burst)
	require.Positive(t, s.Snapshots)
	require.Positive(t, s.Heap)
	for _, d := range []any{s.Join, s.Change, s.BurstStored, s.BurstSeen, s.LeaseRate, s.LeaseCPU} {
		require.Positive(t, d)
	}
	for _, title := range []string{"Join, leave, memory", "Change", "Idle", "By records alone", "Heartbeats"} {
		require.Contains(t, tables.String(), "\n"+title+"\n")
	}
	requireSVG(t, svgFile)
}

func requireChanges(t *testing.T, rows []changeRow, count int) {
	t.Helper()
	require.Len(t, rows, len(changeKinds))
	for i, row := range rows {
		require.Equal(t, changeKinds[i], row.Kind)
		require.Equal(t, count/len(changeKinds), row.Changes)
		require.Positive(t, row.First)
		require.LessOrEqual(t, row.First, row.Median)
		require.LessOrEqual(t, row.Median, row.Last)
		require.LessOrEqual(t, row.Last, row.LastP99)
		require.Equal(t, count, row.Floor.Changes)
		require.Positive(t, row.Floor.Last)
	}
}

func requireSVG(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	for dec := xml.NewDecoder(f); ; {
		if _, err := dec.Token(); err == io.EOF {
			return
		} else {
			require.NoError(t, err)
		}
	}
}

// stopper ends a context when a text was said.
type stopper struct {
	bytes.Buffer
	at   string
	stop context.CancelFunc
}

func (s *stopper) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.at) {
		s.stop()
	}
	return s.Buffer.Write(p)
}

// Ctrl-C ends it at any step, with the processes, and prints what was measured.
func TestInterrupted(t *testing.T) {
	for at, args := range map[string][]string{
		"starting": {"-quick"}, "joining": {"-quick"}, "10 buses: idle": {"-quick", "-changes", "1"}, "loading": {"-quick", "-buses", ""},
	} {
		t.Run(at, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var tables bytes.Buffer
			said := &stopper{at: at, stop: cancel}
			require.Equal(t, 130, fleetMain(ctx, args, &tables, said), "%s", &said.Buffer)
			require.Contains(t, said.String(), "interrupted")
			require.Contains(t, tables.String(), "nats-server")
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			require.Empty(t, left, "what a server stored")
		})
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-buses", "1"}, {"-buses", "10,x"}, {"-records", "0"}, {"-processes", "0"}, {"-servers", "2"}, {"-together", "-1"}, {"-ttl", "1ms"}, {"-idle", "0s"},
		{"-changes", "0"}, {"-timeout", "0s"}, {"-unknown"}, {"argument"},
	} {
		var out, said bytes.Buffer
		require.Equal(t, 2, fleetMain(t.Context(), args, &out, &said), "%q", args)
		require.NotEmpty(t, said.String(), "%q", args)
		require.Empty(t, out.String(), "%q", args)
	}
	var out, said bytes.Buffer
	require.Zero(t, fleetMain(t.Context(), []string{"--help"}, &out, &said))
	require.Contains(t, said.String(), "-quick")
}
