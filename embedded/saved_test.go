package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func savedConfig(name string, size int) *config {
	c := &config{name: name}
	c.cluster.fleet, c.cluster.size = "rolebus", size
	return c
}

var savedMember = identity{
	name: "a", phase: phaseMember, cluster: "rolebus-0123456789abcdef", server: "a~2", life: 2,
	members: []contact{{Host: "10.0.0.2", Port: 6222, TLSName: "b.example"}}, peers: []string{"a~2", "b"}, ports: ports{Hello: 1, Route: 2, Client: 3},
}

func stores(t *testing.T, dir string) {
	require.NoError(t, os.MkdirAll(filepath.Join(dir, jetstreamDir, "$SYS"), 0o700))
}

func TestIdentityIsReadAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	stores(t, dir)
	require.NoError(t, writeIdentity(dir, "rolebus", 3, savedMember))
	for _, name := range []string{"", "a"} {
		id, err := readIdentity(dir, savedConfig(name, 3))
		require.NoError(t, err)
		want := savedMember
		want.was = phaseMember
		require.Equal(t, want, id)
	}
	left, err := filepath.Glob(filepath.Join(dir, identityFile+".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// A member whose store is gone comes back under its name, and empty; also one that was leaving. Who was not taken in yet looks first.
func TestIdentityOfALostStore(t *testing.T) {
	for was, want := range map[phase]phase{
		phaseMember: phaseSpare, phaseLeaving: phaseSpare, phaseSpare: phaseSpare, phaseFounding: phaseFounding, phaseJoining: phaseJoining,
	} {
		dir, id := t.TempDir(), savedMember
		id.phase = was
		require.NoError(t, writeIdentity(dir, "rolebus", 3, id))
		got, err := readIdentity(dir, savedConfig("a", 3))
		require.NoError(t, err)
		require.Equal(t, want, got.phase, "of %s", was)
		require.Equal(t, was, got.was)
		require.Equal(t, id.cluster, got.cluster, "it knows the cluster still, and founds none beside it")
		require.Equal(t, 2, got.life)
	}
}

func TestIdentityThatCannotBeUsedIsRefused(t *testing.T) {
	whole := func() string {
		dir := t.TempDir()
		require.NoError(t, writeIdentity(dir, "rolebus", 3, savedMember))
		text, err := os.ReadFile(filepath.Join(dir, identityFile))
		require.NoError(t, err)
		return string(text)
	}()
	replaced := func(old, with string) string {
		require.Contains(t, whole, old)
		return strings.Replace(whole, old, with, 1)
	}
	for name, test := range map[string]struct{ text, says string }{
		"empty":               {"", "it is damaged"},
		"cut off":             {whole[:len(whole)/2], "it is damaged"},
		"zeros":               {strings.Repeat("\x00", 512), "it is damaged"},
		"something else":      {"[1, 2]", "it is damaged"},
		"nothing in it":       {"{}", "it has version 0"},
		"a later version":     {replaced(`"version": 1`, `"version": 2`), "it has version 2, and known is 1"},
		"another fleet":       {replaced(`"fleet": "rolebus"`, `"fleet": "other"`), `the fleet "other"`},
		"another name":        {replaced(`"name": "a"`, `"name": "b"`), `it belongs to "b", and this process was told the name "a"`},
		"another size":        {replaced(`"size": 3`, `"size": 5`), "give WithSize(5)"},
		"an unknown phase":    {replaced(`"phase": "member"`, `"phase": "king"`), "it is damaged"},
		"a member of nothing": {replaced(`"cluster": "rolebus-0123456789abcdef"`, `"cluster": ""`), "it is damaged"},
		"without a server":    {replaced(`"server": "a~2"`, `"server": ""`), "it is damaged"},
		"a server of lines":   {replaced(`"server": "a~2"`, `"server": "a\nb"`), "it is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stores(t, dir)
			require.NoError(t, os.WriteFile(filepath.Join(dir, identityFile), []byte(test.text), 0o600))
			_, err := readIdentity(dir, savedConfig("a", 3))
			require.ErrorContains(t, err, test.says)
			require.DirExists(t, filepath.Join(dir, jetstreamDir), "what is stored stays for who can mend it")
		})
	}
}

func TestContactsThatAreNoneAreNotRemembered(t *testing.T) {
	dir, id := t.TempDir(), savedMember
	stores(t, dir)
	id.members = append([]contact{{Host: "a b", Port: 1}, {Host: "c", Port: 70000}}, id.members...)
	require.NoError(t, writeIdentity(dir, "rolebus", 3, id))
	got, err := readIdentity(dir, savedConfig("a", 3))
	require.NoError(t, err)
	require.Equal(t, savedMember.members, got.members)
}

func TestIdentityThatCannotBeWrittenStaysAsItWas(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, writeIdentity(dir, "rolebus", 3, savedMember))
	require.Error(t, writeIdentity(filepath.Join(dir, "missing"), "rolebus", 3, savedMember))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub", identityFile, "full"), 0o700)) // cannot be replaced by a file
	require.Error(t, writeIdentity(filepath.Join(dir, "sub"), "rolebus", 3, savedMember))
	left, err := filepath.Glob(filepath.Join(dir, "sub", identityFile+".*"))
	require.NoError(t, err)
	require.Empty(t, left, "nothing half written stays behind")
}

// What was emptied is no store any more, also if the process dies before it is removed.
func TestStoreIsEmptiedAtOnce(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, emptyStore(dir), "nothing is there")
	stores(t, dir)
	require.NoError(t, emptyStore(dir))
	stored, err := hasStreams(dir)
	require.NoError(t, err)
	require.False(t, stored)

	stores(t, dir)
	require.NoError(t, os.Rename(filepath.Join(dir, jetstreamDir), filepath.Join(dir, emptiedDir))) // and it died
	stored, err = hasStreams(dir)
	require.NoError(t, err)
	require.False(t, stored)
	stores(t, dir)
	require.NoError(t, emptyStore(dir), "also if something is left of the last time")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
