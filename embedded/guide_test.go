package embedded_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/CLUSTER.md and docs/OPTIONS.md are held to the code.

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	require.NoError(t, err)
	return string(text)
}

// program is the source of this package and of what it says by others, its literals in one piece each.
func program(t *testing.T) string {
	t.Helper()
	all := ""
	for _, pattern := range []string{"*.go", "../internal/certs/*.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			all += string(text)
		}
	}
	all = regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(all, "")
	return strings.ReplaceAll(all, `\"`, `"`)
}

func TestTheOptionsAreInTheTable(t *testing.T) {
	_, section, found := strings.Cut(page(t, "OPTIONS.md"), "\n## Embedded\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	options := regexp.MustCompile(`(?m)^func (With\w+)\(`).FindAllStringSubmatch(program(t), -1)
	require.Greater(t, len(options), 15)
	for _, option := range options {
		require.True(t, strings.Contains(section, "\n| `embedded."+option[1]+"("), "the table of docs/OPTIONS.md has no embedded.%s", option[1])
	}
	rows := regexp.MustCompile("(?m)^\\| `embedded\\.(\\w+)\\(").FindAllStringSubmatch(section, -1)
	require.Len(t, rows, len(options))
}

// said are what the tables of docs/CLUSTER.md say that is told, in pieces without what is different each time.
func said(t *testing.T) (pieces []string) {
	t.Helper()
	for line := range strings.Lines(page(t, "CLUSTER.md")) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `") && len(cells) > 1 {
			for _, text := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
				for piece := range strings.SplitSeq(text[1], "...") {
					if piece = strings.TrimSpace(piece); len(piece) > 4 {
						pieces = append(pieces, piece)
					}
				}
			}
		}
	}
	require.Greater(t, len(pieces), 60)
	return pieces
}

func TestTheGuideSaysWhatIsTold(t *testing.T) {
	text := program(t)
	for _, piece := range said(t) {
		if rest, ok := strings.CutPrefix(piece, "could not "); ok { // of carryOut, in two pieces
			piece = rest
		}
		if strings.HasPrefix(piece, "kubernetes") || strings.HasPrefix(piece, "terminationGrace") {
			continue
		}
		require.True(t, strings.Contains(text, piece), "docs/CLUSTER.md says that %q is told, and nothing tells it", piece)
	}
}

// Whatever is told of others, waited for or warned of stands in a table, with what to do.
func TestTheGuideHasWhateverIsTold(t *testing.T) {
	guide, text := page(t, "CLUSTER.md"), program(t)
	n := 0
	for _, pattern := range []string{
		`\.Warn\("([^"]+)"`, `(?:reason|refused) = (?:fmt\.Sprintf\()?"([^"]+)"`, `waits = (?:fmt\.Sprintf\()?"([^"]+)"`, `what = (?:fmt\.Sprintf\()?"([^"]+)"`,
		`return (?:fmt\.Errorf|errors\.New)\("((?:the|some|of|this|no|is)[^"]+)"`,
	} {
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
		require.NotEmpty(t, found, pattern)
		for _, f := range found {
			longest := ""
			for _, piece := range regexp.MustCompile(`%\w`).Split(f[1], -1) {
				piece, _, _ = strings.Cut(piece, ":")
				if piece = strings.Trim(piece, " ,;"); len(piece) > len(longest) {
					longest = piece
				}
			}
			n++
			if !strings.Contains(guide, longest) && longest != "not ready for connections after" { // that is Start's
				t.Errorf("docs/CLUSTER.md says nothing of %q", f[1])
			}
		}
	}
	require.Greater(t, n, 40)
}

func TestTheGuideNamesTestsThatAreThere(t *testing.T) {
	all := ""
	for _, pattern := range []string{"*_test.go", "../nats_test/*/*_test.go", "../discovery/kubernetes/*_test.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			all += string(text)
		}
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(page(t, "CLUSTER.md"), -1)
	require.Greater(t, len(named), 5)
	for _, test := range named {
		require.True(t, strings.Contains(all, "\nfunc "+test[1]+"("), "docs/CLUSTER.md names %s, which is nowhere", test[1])
	}
}
