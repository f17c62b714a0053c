package model_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	mutants = flag.Int("mutants", 1, "how many rules are taken out, one at a time; 0: all of them")
	seed    = flag.Uint64("seed", 0, "chooses which; 0: by chance")
)

// all says whether this run takes out every rule: that takes minutes, and is a step of .ci/run.
func all() bool { return *mutants <= 0 || *mutants >= len(rules) }

// chosen are the rules that this run takes out.
func chosen(t *testing.T) []rule {
	if all() {
		return rules
	}
	by := cmp.Or(*seed, uint64(rand.Uint32()))
	t.Logf("%d of %d rules: -seed=%d", *mutants, len(rules), by)
	places := rand.New(rand.NewPCG(by, 0)).Perm(len(rules))[:*mutants]
	slices.Sort(places)
	var some []rule
	for _, at := range places {
		some = append(some, rules[at])
	}
	return some
}

// patience is for one build, and for one run; far more than either takes.
const patience = 3 * time.Minute

// kept are, by package, the files of tests that find mutants. The others are left out: they would only take time to build.
var kept = map[string]*regexp.Regexp{
	"":          regexp.MustCompile(`^(main|fake|fake_peers|prober|many|model.*)_test\.go$`),
	"exclusive": regexp.MustCompile(`^(rules.*|adopt|vectors|model.*)_test\.go$`),
}

// mutant is a copy of a package in which some files are others.
type mutant struct{ root, overlay string }

func newMutant(t *testing.T, in string, edits []edit) mutant {
	root, err := filepath.Abs(filepath.Join("..", in))
	require.NoError(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	tests, err := filepath.Glob(filepath.Join(root, "*_test.go"))
	require.NoError(t, err)
	for _, test := range tests {
		if !kept[in].MatchString(filepath.Base(test)) {
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

// build compiles the tests with the mutant.
func (m mutant) build(t *testing.T) string {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "model.test")
	quick := []string{"test", "-c", "-vet=off", "-gcflags=-N -l -dwarf=false", "-ldflags=-s -w"}
	cmd := exec.CommandContext(ctx, "go", append(quick, "-overlay", m.overlay, "-o", binary, ".")...)
	cmd.Dir = m.root
	// A mutant is looked for wrong results, not for data races, which would take several times as long.
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(strings.ReplaceAll(os.Getenv("GOFLAGS"), "-race", "")))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "the mutant does not compile:\n%s", out)
	return binary
}

// run runs some of the tests until one fails, and returns what they say.
func (m mutant) run(t *testing.T, binary, tests string, flags ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	always := []string{"-test.run", tests, "-test.failfast", "-test.v", "-test.timeout", patience.String()}
	cmd := exec.CommandContext(ctx, binary, append(always, flags...)...)
	cmd.Dir = m.root
	out, err := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), "no end:\n%s", out)
	return string(out), err
}

var (
	// invariant is how the model names what does not hold.
	invariant = regexp.MustCompile(`broken invariant: ([a-z' ]+): (.*)`)
	// failed is how a test is named that failed.
	failed = regexp.MustCompile(`--- FAIL: (\S+)`)
)

func TestNothingIsBrokenWithAllRules(t *testing.T) {
	for in := range kept {
		t.Run(filepath.Join("rolebus", in), func(t *testing.T) {
			t.Parallel()
			m := newMutant(t, in, nil)
			binary := m.build(t)
			var flags []string
			if !all() {
				flags = []string{"-modelruns=1"} // the package's own tests run more, of the same code
			}
			out, err := m.run(t, binary, ".", flags...)
			require.NoError(t, err, out)
			for _, r := range rules {
				if r.in == in {
					require.Regexp(t, "(?m)^=== RUN +"+r.found, out, "rule %q: no such test", r.name)
				}
			}
		})
	}
}

// A rule that moved is told at once, before anything is built.
func TestEachRuleStandsInTheSource(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) { newMutant(t, r.in, r.edits) })
	}
}

func TestEachRuleIsNeeded(t *testing.T) {
	for _, r := range chosen(t) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					this := strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^")
					t.Logf("to repeat: go test ./model -mutants=0 -run '^%s$'", this)
				}
			})
			m := newMutant(t, r.in, r.edits)
			binary := m.build(t)
			out, err := m.run(t, binary, r.found)
			if err == nil { // what is left to chance is sometimes found by others only
				t.Logf("not found by %s", r.found)
				out, err = m.run(t, binary, ".")
			}
			require.Error(t, err, "without this rule nothing is found wrong")
			tests := failed.FindAllStringSubmatch(out, -1)
			require.NotEmpty(t, tests, "the mutant fails, but by no test:\n%s", out)
			last := tests[len(tests)-1][1]
			if why := invariant.FindStringSubmatch(out); why != nil {
				t.Logf("%s: without it %q does not hold: %s", last, why[1], why[2])
			} else {
				t.Logf("%s fails without it", last)
			}
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
