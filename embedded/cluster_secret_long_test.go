//go:build long

package embedded_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

// writeSecrets replaces a file of secrets at once.
func writeSecrets(t *testing.T, path string, secrets ...string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(strings.Join(secrets, "\n")+"\n"), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

func TestSecretsRotateWithoutAnOutage(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	old, fresh := secretOf('o'), secretOf('n')
	var all []*process
	file := func(i int) string { return filepath.Join(town.dir, "secret"+strconv.Itoa(i)) }
	for i := range 4 {
		writeSecrets(t, file(i), old)
		all = append(all, town.begin(t, "p"+strconv.Itoa(i), embedded.WithSecretFile(file(i))))
	}
	for _, p := range all {
		ready(t, p)
		await(t, p, "settled", func(s embedded.ClusterState) bool { return s.Leader != "" && s.Waiting == "" && len(s.Members) == 3 })
	}
	members := slices.DeleteFunc(slices.Clone(all), func(p *process) bool { return p.State().Part != embedded.Member })
	require.Len(t, members, 3)
	canary := sing(t, all[0])
	for step, secrets := range [][]string{{old, fresh}, {fresh, old}, {fresh}} {
		for i, p := range all { // one process after another
			writeSecrets(t, file(i), secrets...)
			until(t, func() bool { return len(p.lines("secrets replaced")) == step+1 }, p.log.String)
		}
		if secrets[0] == fresh && len(secrets) == 2 {
			for _, p := range members {
				until(t, func() bool { return len(p.lines("routes is the new one")) == 1 }, p.log.String)
			}
		}
		canary.more(t, 20)
	}
	for _, p := range members {
		require.NotContains(t, of(p.told, &p.told.leaders), "", "a leader was missing")
		await(t, p, "whole", whole(3))
	}

	late := begin(t, town.strategy(), embedded.WithSecret(old), embedded.WithName("late"))
	until(t, func() bool { return len(late.lines("it has another secret")) >= 4 }, late.log.String)
	require.Equal(t, embedded.Forming, late.State().Part)

	last := leaderFirst(members)[2]
	name := last.State().Name
	require.NoError(t, last.Close()) // the others dial it again, and it them
	i, err := strconv.Atoi(name[1:])
	require.NoError(t, err)
	await(t, town.begin(t, name, embedded.WithSecretFile(file(i))), "to be back", isMember)
	for _, p := range all {
		require.NotContains(t, p.log.String(), old)
		require.NotContains(t, p.log.String(), fresh)
	}
	canary.end(t)
}
