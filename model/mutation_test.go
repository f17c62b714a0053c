package model_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is for one build and one run; far more than both take.
const patience = time.Minute

// The files of tests that the model needs. The others are left out of a mutant: they would only take time to build.
var kept = regexp.MustCompile(`^(main|fake|model.*)_test\.go$`)

// mutant is a copy of the root package in which some files are others.
type mutant struct{ root, overlay string }

func newMutant(t *testing.T, edits []edit) mutant {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	tests, err := filepath.Glob(filepath.Join(root, "*_test.go"))
	require.NoError(t, err)
	for _, test := range tests {
		if !kept.MatchString(filepath.Base(test)) {
			replace[test] = ""
		}
	}
	sources := map[string]string{}
	for _, e := range edits {
		source, ok := sources[e.file]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(root, e.file))
			require.NoError(t, err)
			source = string(raw)
		}
		require.Equal(t, 1, strings.Count(source, e.old), "rule moved: in %s this must stand exactly once:\n%s", e.file, e.old)
		sources[e.file] = strings.Replace(source, e.old, e.new, 1)
	}
	for file, source := range sources {
		path := filepath.Join(dir, file)
		require.NoError(t, os.WriteFile(path, []byte(source), 0o600))
		replace[filepath.Join(root, file)] = path
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	m := mutant{root: root, overlay: filepath.Join(dir, "overlay.json")}
	require.NoError(t, os.WriteFile(m.overlay, raw, 0o600))
	return m
}

// build compiles the model's tests with the mutant.
func (m mutant) build(t *testing.T) string {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "model.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", m.overlay, "-o", binary, ".")
	cmd.Dir = m.root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "the mutant does not compile:\n%s", out)
	return binary
}

// run runs the model and returns what it says.
func (m mutant) run(t *testing.T, binary string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^TestModel", "-test.failfast", "-test.timeout", patience.String())
	cmd.Dir = m.root
	out, err := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), "no end:\n%s", out)
	return string(out), err
}

// invariant is how the model names what does not hold.
var invariant = regexp.MustCompile(`broken invariant: ([a-z ]+): (.*)`)

func TestNothingIsBrokenWithAllRules(t *testing.T) {
	t.Parallel()
	m := newMutant(t, nil)
	out, err := m.run(t, m.build(t))
	require.NoError(t, err, out)
}

func TestEachRuleIsNeeded(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			m := newMutant(t, r.edits)
			out, err := m.run(t, m.build(t))
			require.Error(t, err, "without this rule the model finds nothing wrong")
			found := invariant.FindStringSubmatch(out)
			require.NotEmpty(t, found, "the mutant fails, but not by an invariant:\n%s", out)
			t.Logf("without it %q does not hold: %s", found[1], found[2])
		})
	}
}

// The table of docs/MODEL.md is this list.
func TestTheDocumentNamesEachRule(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "MODEL.md"))
	require.NoError(t, err)
	var want strings.Builder
	want.WriteString("| rule | what the design says | without it |\n|---|---|---|\n")
	for _, r := range rules {
		want.WriteString("| " + r.name + " | " + r.says + " | " + r.why + " |\n")
	}
	require.Contains(t, string(raw), want.String(), "the table must be:\n%s", want.String())
}
