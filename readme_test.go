package rolebus_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// unindented returns a text without the indentation of its lines.
func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

func TestReadmeCodeIsTested(t *testing.T) {
	tested := unindented(read(t, "example_test.go"))
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		require.True(t, strings.Contains(tested, "\n"+unindented(block[1])), "not in example_test.go:\n%s", block[1])
	}
}

func TestReadmeNamesEveryOptionAndError(t *testing.T) {
	readme := read(t, "README.md")
	for file, pattern := range map[string]string{"option.go": `(?m)^func (With\w+)\(`, "errors.go": `(?m)^\t(Err\w+) +=`} {
		names := regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			require.True(t, strings.Contains(readme, "| `"+name[1]), "no table of README.md has %s", name[1])
		}
	}
}

func TestProtocolNamesEveryHeader(t *testing.T) {
	protocol := read(t, "docs/PROTOCOL.md")
	for _, file := range []string{"headers.go", "write.go"} {
		names := regexp.MustCompile(`"((?:Nats|KV)-[A-Z][\w-]+)"`).FindAllStringSubmatch(read(t, file), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			require.True(t, strings.Contains(protocol, name[1]), "docs/PROTOCOL.md says nothing of %s", name[1])
		}
	}
}

// The fields of our header and of the body.
func TestProtocolNamesEveryField(t *testing.T) {
	protocol := read(t, "docs/PROTOCOL.md")
	for _, file := range []string{"wire.go", "peer.go"} {
		names := regexp.MustCompile("`json:\"(\\w+)").FindAllStringSubmatch(read(t, file), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			require.True(t, strings.Contains(protocol, "`"+name[1]+"`"), "docs/PROTOCOL.md says nothing of %s", name[1])
		}
	}
}

func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/PROTOCOL.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, name), -1) {
			target, _, _ := strings.Cut(link[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(name), target))
			require.NoError(t, err, "a link in %s", name)
		}
	}
}
