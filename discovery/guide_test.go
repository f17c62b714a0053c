package discovery_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

// docs/DISCOVERY.md and docs/OPTIONS.md are held to the code.

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	require.NoError(t, err)
	return string(text)
}

// declared are the exported functions of a package's directory, and whether they return an Option.
func declared(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	all := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() {
				continue
			}
			option := false
			if r := f.Type.Results; r != nil && len(r.List) == 1 {
				of, _ := r.List[0].Type.(*ast.Ident)
				option = of != nil && of.Name == "Option"
			}
			all[f.Name.Name] = option
		}
	}
	require.NotEmpty(t, all, dir)
	return all
}

func TestTheGuideNamesEveryFunctionAndOption(t *testing.T) {
	guide, options := page(t, "DISCOVERY.md"), page(t, "OPTIONS.md")
	for dir, prefix := range map[string]string{".": "", "kubernetes": "kubernetes.", "discoverytest": "discoverytest."} {
		for name, option := range declared(t, dir) {
			if option {
				require.True(t, strings.Contains(options, "\n| `"+prefix+name+"("), "no table of docs/OPTIONS.md has %s%s", prefix, name)
				continue
			}
			word := regexp.MustCompile(`\b` + regexp.QuoteMeta(prefix+name) + `\b`)
			require.True(t, word.MatchString(guide), "docs/DISCOVERY.md says nothing of %s%s", prefix, name)
		}
	}
}

// Whatever stands in a table as an option is one.
func TestTheGuideInventsNoOption(t *testing.T) {
	_, section, found := strings.Cut(page(t, "OPTIONS.md"), "\n## Discovery\n")
	require.True(t, found)
	of := map[string]map[string]bool{"": declared(t, "."), "kubernetes.": declared(t, "kubernetes")}
	rows := regexp.MustCompile("(?m)^\\| `((?:kubernetes\\.)?)(\\w+)\\(").FindAllStringSubmatch(section, -1)
	require.Greater(t, len(rows), 20)
	for _, row := range rows {
		require.True(t, of[row[1]][row[2]], "docs/OPTIONS.md has %s%s, and it is no option", row[1], row[2])
	}
}

// What libcluster can be configured with, by its documentation and its source, and each event of its telemetry.
var libcluster = []string{
	"topologies", "strategy", "config", "connect", "disconnect", "list_nodes", "debug",
	":connect_node, :ok", ":connect_node, :error", ":disconnect_node, :ok", ":disconnect_node, :error",
	"hosts", "timeout", // Epmd, ErlangHosts
	"port", "if_addr", "multicast_if", "multicast_addr", "multicast_ttl", "secret", "broadcast_only", // Gossip
	"kubernetes_node_basename", "kubernetes_selector", "kubernetes_namespace", "kubernetes_service_name", "kubernetes_cluster_name",
	"CLUSTER_DOMAIN", "kubernetes_ip_lookup_mode", "mode", "kubernetes_use_cached_resources", "kubernetes_master",
	"kubernetes_service_account_path", "polling_interval",
	"service", "application_name", "resolver", "namespace", // Kubernetes.DNS, Kubernetes.DNSSRV
	"node_basename", "query", // Rancher, DNSPoll
}

func TestTheGuideHasEachOptionOfLibcluster(t *testing.T) {
	guide := page(t, "DISCOVERY.md")
	for _, name := range libcluster {
		row := regexp.MustCompile("(?m)^\\|(?: [\\w.]+ \\|)? `[^`|]*" + regexp.QuoteMeta(name) + "\\b[^|]*\\|")
		require.True(t, row.MatchString(guide), "no table of docs/DISCOVERY.md has %s", name)
	}
}

// sources returns the test files of the tree, by the tests in them. What is escaped in a literal is not, here.
func sources(t *testing.T) map[string]string {
	t.Helper()
	of := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, test := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`).FindAllStringSubmatch(string(text), -1) {
			of[test[1]] += strings.ReplaceAll(string(text), `\`, "")
		}
		return err
	})
	require.NoError(t, err)
	return of
}

var aTest = regexp.MustCompile("`((?:Test|Fuzz|Example)\\w+)`")

// Each test that the guide names is there.
func TestTheGuideNamesTestsThatAreThere(t *testing.T) {
	tests := sources(t)
	named := aTest.FindAllStringSubmatch(page(t, "DISCOVERY.md"), -1)
	require.Greater(t, len(named), 100)
	for _, test := range named {
		require.NotEmpty(t, tests[test[1]], "docs/DISCOVERY.md names %s, which is nowhere", test[1])
	}
}

// rows are those of the table under a heading.
func rows(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	_, section, found := strings.Cut(page(t, "DISCOVERY.md"), "\n"+heading+"\n")
	require.True(t, found, heading)
	section, _, _ = strings.Cut(section, "\n#")
	for _, line := range strings.Split(section, "\n") {
		if strings.HasPrefix(line, "| ") {
			rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
		}
	}
	require.Greater(t, len(rows), 10)
	return rows[1:]
}

// What the guide says that is told of bad input stands in a test that it names beside it, and so is told.
func TestTheGuideSaysWhatIsToldOfBadInput(t *testing.T) {
	tests := sources(t)
	for _, row := range rows(t, "## Bad input, and what it gets") {
		require.Len(t, row, 4, "%v", row)
		text, told := strings.CutPrefix(row[2], "`")
		text = strings.TrimSuffix(text, "`")
		names := aTest.FindAllStringSubmatch(row[3], -1)
		require.NotEmpty(t, names, "no test: %v", row)
		found := !told
		for _, name := range names {
			found = found || strings.Contains(tests[name[1]], text)
		}
		require.True(t, found, "no test has what is told: %v", row)
	}
}

// A strategy that asks waits for what is not there yet; a list in the program that is empty is a mistake.
func TestAnEmptyListIsAMistakeOfStaticAlone(t *testing.T) {
	err := discovery.Static(nil).Discover(t.Context(), func([]discovery.Address, error) { t.Error("it told something") })
	require.EqualError(t, err, "discovery: Static: no addresses: leave the strategy out if there are none")
	for _, s := range []discovery.Strategy{discovery.File("nowhere"), discovery.Env("ROLEBUS_NOT_SET"), discovery.DNS("nowhere.invalid.")} {
		require.NoError(t, s.(interface{ Err() error }).Err())
	}
}
