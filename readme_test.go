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

// A program stands in examples/first, other Go code in an example_test.go, word for word.
func TestCodeInDocumentsIsTested(t *testing.T) {
	tested := ""
	for _, name := range []string{"example_test.go", "call/example_test.go", "exclusive/example_test.go", "discovery/example_test.go", "discovery/kubernetes/example_test.go", "embedded/example_test.go"} {
		tested += unindented(read(t, name))
	}
	program := read(t, "examples/first/main.go")
	for _, name := range documents(t) {
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, name), -1)
		require.True(t, len(blocks) > 0 || name != "README.md")
		for _, block := range blocks {
			if strings.HasPrefix(block[1], "package ") {
				require.True(t, strings.HasSuffix(program, "\n"+block[1]), "the program of %s is not that of examples/first", name)
				continue
			}
			require.True(t, strings.Contains(tested, "\n"+unindented(block[1])), "%s: not in example_test.go:\n%s", name, block[1])
		}
	}
}

func TestHooksDocumentNamesEveryHook(t *testing.T) {
	document := read(t, "docs/HOOKS.md")
	for _, file := range []string{"hooks.go", "call/hooks.go", "discovery/hooks.go", "embedded/cluster_hooks.go"} {
		hooks := regexp.MustCompile(`(?m)^type Hook(\w+) interface\{ On(\w+)\((\w+)Info\) \}`).FindAllStringSubmatch(read(t, file), -1)
		require.NotEmpty(t, hooks)
		for _, hook := range hooks {
			require.Equal(t, []string{hook[1], hook[1]}, hook[2:], "one name")
			require.True(t, strings.Contains(document, "| `On"+hook[1]+"` |"), "no table of docs/HOOKS.md has On%s", hook[1])
		}
	}
}

// documents returns the names of all that is written for people.
func documents(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	return append(names, "docs/vectors/README.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
}

func TestOptionsAndErrorsAreDocumented(t *testing.T) {
	tables := read(t, "docs/OPTIONS.md")
	for _, of := range []struct{ file, pattern, end string }{
		{"option.go", `(?m)^func (With\w+)\(`, "("},
		{"errors.go", `(?m)^\t(Err\w+)\b.* =`, "`"},
		{"call/option.go", `(?m)^func ([A-Z]\w+)(?:\[.*\])?\(.*\) (?:Handle|Shared)?Option \{`, "("},
		{"call/errors.go", `(?m)^\t(Err\w+)\b.* =`, "`"},
		{"exclusive/errors.go", `(?m)^\t(Err\w+)\b.* =`, "`"},
		{"discovery/errors.go", `(?m)^\t(Reason\w+) +Reason = `, "`"},
	} {
		names := regexp.MustCompile(of.pattern).FindAllStringSubmatch(read(t, of.file), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			require.True(t, strings.Contains(tables, "| `"+name[1]+of.end), "no table of docs/OPTIONS.md has %s of %s", name[1], of.file)
		}
	}
}

func TestProtocolNamesEveryHeader(t *testing.T) {
	protocol := read(t, "docs/PROTOCOL.md")
	for _, file := range []string{"headers.go", "write.go", "entrywire.go", "call/wire.go"} {
		names := regexp.MustCompile(`"((?:Nats|KV|Rolebus|Content)-[A-Z][\w-]+)"`).FindAllStringSubmatch(read(t, file), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			require.True(t, strings.Contains(protocol, name[1]), "docs/PROTOCOL.md says nothing of %s", name[1])
		}
	}
}

func TestProtocolNamesEveryAnswerOfACall(t *testing.T) {
	protocol := read(t, "docs/PROTOCOL.md")
	kinds := regexp.MustCompile(`(?m)^\tsay\w+ += "([a-z-]+)"`).FindAllStringSubmatch(read(t, "call/wire.go"), -1)
	require.NotEmpty(t, kinds)
	for _, kind := range kinds {
		require.True(t, strings.Contains(protocol, "\n| `"+kind[1]+"` |"), "no table of docs/PROTOCOL.md has %s", kind[1])
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
	code := regexp.MustCompile("(?s)```.*?```") // in which a call of a generic function looks like a link
	for _, name := range documents(t) {
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(code.ReplaceAllString(read(t, name), ""), -1) {
			target, _, _ := strings.Cut(link[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(name), target))
			require.NoError(t, err, "a link in %s", name)
		}
	}
}

func TestContributorsDocumentNamesEveryFile(t *testing.T) {
	table := read(t, "CONTRIBUTING.md")
	for _, pattern := range []string{"*.go", "call/*.go", "exclusive/*.go", "discovery/*.go", "embedded/*.go", "discovery/kubernetes/*.go", "discovery/discoverytest/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			name := filepath.Base(file)
			if name == "doc.go" || strings.HasSuffix(name, "_test.go") {
				continue
			}
			require.True(t, strings.Contains(table, "`"+name+"`"), "no table of CONTRIBUTING.md has %s", file)
		}
	}
}
