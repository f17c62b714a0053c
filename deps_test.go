package rolebus

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const natsGo, rolebus = "github.com/nats-io/nats.go", "github.com/rolebus/rolebus"

// Whoever imports the root package gets nats.go and what that needs, and nothing else: no server, no test library.
func TestRootNeedsNothingButNATS(t *testing.T) {
	const foreign = `{{if not .Standard}}{{.ImportPath}}{{end}}`
	ours := goList(t, "-deps", "-f", foreign, ".")
	require.Contains(t, ours, natsGo, "the list is there")
	for _, path := range ours {
		require.NotContains(t, path, "nats-server")
		require.NotContains(t, path, "testify")
	}
	theirs := goList(t, "-deps", "-f", foreign, natsGo, natsGo+"/jetstream")
	require.Subset(t, append(theirs, rolebus, rolebus+"/internal/hook", rolebus+"/internal/found"), ours)
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.Fields(string(out))
}
