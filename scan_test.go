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
		{kind: kindState, node: "n", id: life{1, 2}, roles: []Role{"a", "b"}, meta: map[string]string{"k": "v", "l": ""}},
		{kind: kindState, node: "n=1", id: life{maxNumber, maxNumber}},
		{kind: kindLeft, node: "n", id: life{1, 2}},
		{kind: kindExpired, node: "n", id: life{1, 2}},
	} {
		_, body := encode("s", c)
		got, ok := scanRecord(string(body))
		require.True(t, ok, "%s", body)
		var want wireRecord
		require.NoError(t, json.Unmarshal(body, &want))
		require.Equal(t, want, got)
	}
	for _, text := range []string{
		"", "{}", `{"format":1}`, `{"format":01,"scope":"s","node":"n","incarnation":1,"version":1}`,
		`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1} `, `{"format":1,"scope":"\u0073","node":"n","incarnation":1,"version":1}`,
		`{"format":1,"scope":"s","node":"n","incarnation":99999999999999999999,"version":1}`,
		`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1,"roles":["a",]}`,
		`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1,"roles":["a"`,
		`{"format":1,"scope":"s","node":"é","incarnation":1,"version":1}`,
	} {
		_, ok := scanRecord(text)
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
	f.Add(`["a","b"]`)
	f.Add(`[]`)
	f.Add(`{"format":1,"scope":"s","node":"n","incarnation":1,"version":1,"roles":["a"],"meta":{"k":"v","k":"w"},"gone":"left"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := scanRecord(text); ok {
			var want wireRecord
			require.NoError(t, unmarshal(text, &want))
			require.Equal(t, want, got)
		}
		if got, ok := scanRoles(text); ok {
			var want []Role
			require.NoError(t, unmarshal(text, &want))
			require.Equal(t, want, got)
		}
	})
}
