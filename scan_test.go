package rolebus

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What this package writes is read without encoding/json, but for text that needs an escape or is not ASCII.
func TestScanReadsWhatWeWrite(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.golden")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, c := range []change{
		{kind: kindState, node: "n", id: life{1, 2}, ttl: minTTL, roles: []Role{"a", "b"}, meta: map[string]string{"k": "v", "l": ""}},
		{kind: kindState, node: "n=1", id: life{maxNumber, maxNumber}, ttl: maxTTL},
		{kind: kindDelta, node: "n", id: life{1, 3}, base: 2, ttl: minTTL, roles: []Role{"a"}, added: []Role{"a"}, removed: []Role{"b", "c"}},
		{kind: kindNotice, node: "n", id: life{1, 2}, ttl: minTTL},
		{kind: kindLeft, node: "n", id: life{1, 2}},
		{kind: kindExpired, node: "n", id: life{1, 2}, due: storedTime},
	} {
		for _, text := range []string{string(printBody("s", c)), string(printHeader(wireFleet, c))} {
			got, ok := scanWire(text)
			require.True(t, ok, text)
			var want wireChange
			require.NoError(t, json.Unmarshal([]byte(text), &want))
			require.Equal(t, want, got)
		}
	}
	for _, text := range []string{
		`{"format":1,"fleet":"f","incarnation":1,"version":1,"base":0}`, `{"format":1,"fleet":"f","incarnation":1,"version":1,"gone":""}`,
		"", "{}", `{"format":1}`, `{"format":01,"scope":"s","node":"n","incarnation":1,"version":1}`,
		`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1} `, `{"format":1,"scope":"\u0073","node":"n","incarnation":1,"version":1}`,
		`{"format":1,"scope":"s","node":"n","incarnation":99999999999999999999,"version":1}`,
		`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1,"roles":["a",]}`,
		`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1,"roles":["a"`,
		`{"format":1,"scope":"s","node":"é","incarnation":1,"version":1}`,
	} {
		_, ok := scanWire(text)
		require.False(t, ok, text)
	}
}

// FuzzScan: what can be scanned means to encoding/json exactly the same.
func FuzzScan(f *testing.F) {
	files, err := filepath.Glob("testdata/wire/*.golden")
	require.NoError(f, err)
	for _, file := range files {
		golden, err := os.ReadFile(file)
		require.NoError(f, err)
		for line := range strings.Lines(string(golden)) {
			f.Add(strings.TrimSpace(line))
		}
	}
	f.Add(`{"format":1,"incarnation":1,"version":1,"ttl":0,"base":0,"added":[],"removed":[],"roles":[],"meta":{},"gone":"","due":0}`)
	f.Add(`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1,"roles":["a"],"meta":{"k":"v","k":"w"},"gone":"left"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := scanWire(text); ok {
			want, err := unmarshalWire(text)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
}
