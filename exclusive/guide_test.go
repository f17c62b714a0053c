package exclusive_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/EXCLUSIVE.md and the tables of docs/OPTIONS.md are held to the code.

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	require.NoError(t, err)
	return string(text)
}

// declared returns what a pattern finds in the source of this package.
func declared(t *testing.T, pattern string) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			names = append(names, found[1])
		}
	}
	require.NotEmpty(t, names, pattern)
	return names
}

func TestEveryOptionAndErrorIsInTheGuideAndInTheTables(t *testing.T) {
	guide := page(t, "EXCLUSIVE.md")
	_, tables, found := strings.Cut(page(t, "OPTIONS.md"), "\n## Exclusive\n")
	require.True(t, found)
	tables, _, _ = strings.Cut(tables, "\n## ")

	options := declared(t, `(?m)^func ([A-Z]\w+)\(.*\) \w*Option \{`)
	errs := declared(t, `(?m)^\t(Err\w+)\b.* =`)
	for _, name := range options {
		require.True(t, strings.Contains(tables, "| `"+name+"("), "no table of docs/OPTIONS.md has %s", name)
		require.True(t, strings.Contains(guide, "`"+name+"(") || strings.Contains(guide, "`exclusive."+name+"`"), "docs/EXCLUSIVE.md says nothing of %s", name)
	}
	for _, name := range errs {
		require.True(t, strings.Contains(tables, "| `"+name+"`"), "no table of docs/OPTIONS.md has %s", name)
		require.True(t, strings.Contains(guide, "| `"+name+"`"), "no table of docs/EXCLUSIVE.md has %s", name)
	}
	rows := regexp.MustCompile("(?m)^\\| `").FindAllString(tables, -1)
	require.Len(t, rows, len(options)+len(errs), "docs/OPTIONS.md has what is not there")
}

func TestEveryHookIsInTheGuideAndInTheTable(t *testing.T) {
	guide := page(t, "EXCLUSIVE.md")
	_, table, found := strings.Cut(page(t, "HOOKS.md"), "\n## Exclusive\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")
	events := declared(t, `(?m)^type Hook(\w+) interface\{ On\w+\(`)
	for _, event := range events {
		require.True(t, strings.Contains(guide, "`On"+event+"`"), "docs/EXCLUSIVE.md says nothing of On%s", event)
		require.True(t, strings.Contains(table, "\n| `On"+event+"` |"), "the table of docs/HOOKS.md has no On%s", event)
	}
	require.Equal(t, events, declared(t, `(?m)^type Hook\w+ interface\{ On(\w+)\(`), "one name")
}

// What a person finds in the bucket has the fields that the guide explains.
func TestTheGuideExplainsEveryFieldOfAClaim(t *testing.T) {
	_, section, found := strings.Cut(page(t, "EXCLUSIVE.md"), "\n## What a claim looks like\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	claim := declared(t, `(?s)type wireClaim struct \{(.*?)\n\}`)[0]
	fields := regexp.MustCompile("`json:\"(\\w+)").FindAllStringSubmatch(claim, -1)
	require.Len(t, fields, 5)
	for _, found := range fields {
		field := found[1]
		require.True(t, strings.Contains(section, `"`+field+`":`), "docs/EXCLUSIVE.md shows no claim with %s", field)
		require.True(t, strings.Contains(section, "`"+field+"`"), "docs/EXCLUSIVE.md says nothing of %s", field)
	}
}

// Each name that the guide calls by this package is there.
func TestTheGuideNamesWhatIsThere(t *testing.T) {
	there := declared(t, `(?m)^(?:func|type) (?:\(\w+ \*?\w+\) )?([A-Z]\w+)`)
	there = append(there, declared(t, `(?m)^\t(Err\w+)\b.* =`)...)
	named := regexp.MustCompile(`exclusive\.([A-Z]\w+)`).FindAllStringSubmatch(page(t, "EXCLUSIVE.md"), -1)
	require.Greater(t, len(named), 5)
	for _, name := range named {
		require.Contains(t, there, name[1])
	}
}

// Of all headings the list at the top of the guide leads to each.
func TestTheGuideLeadsToItsSections(t *testing.T) {
	guide := page(t, "EXCLUSIVE.md")
	slug := func(heading string) string {
		return strings.ReplaceAll(regexp.MustCompile(`[^a-z -]`).ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
	}
	headings := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^##+ (.*)$`).FindAllStringSubmatch(guide, -1) {
		headings[slug(heading[1])] = true
	}
	for _, link := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(guide, -1) {
		require.True(t, headings[link[1]], "docs/EXCLUSIVE.md has no section %s", link[1])
	}
}
