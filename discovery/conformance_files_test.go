package discovery_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
	"github.com/rolebus/rolebus/internal/filelock"
	"github.com/rolebus/rolebus/internal/found"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func TestFileDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{
		New: func(tb testing.TB) discoverytest.Source {
			path := filepath.Join(tb.TempDir(), "servers")
			lines := func(addresses []discovery.Address) string {
				var all strings.Builder
				for _, a := range addresses {
					all.WriteString(a.HostPort() + "\n")
				}
				return all.String()
			}
			become := func(do func() error) {
				must(tb, os.RemoveAll(path))
				must(tb, do())
			}
			write := func(text string) func() error {
				return func() error { return os.WriteFile(path, []byte(text), 0o600) }
			}
			return discoverytest.Source{
				Strategy: discovery.File(path, discovery.Interval(20*time.Millisecond), discovery.QuietFor(50*time.Millisecond)),
				Set: func(addresses []discovery.Address) {
					must(tb, os.RemoveAll(path))
					must(tb, os.WriteFile(path+".new", []byte(lines(addresses)), 0o600))
					must(tb, os.Rename(path+".new", path))
				},
				Part: func(addresses []discovery.Address) { become(write(lines(addresses) + "10.0.0.\x7f\n")) },
				Failures: map[string]func(){
					"is gone":        func() { become(func() error { return nil }) },
					"is a directory": func() { become(func() error { return os.Mkdir(path, 0o700) }) },
					"is garbage":     func() { become(write("\x00\xff\n")) },
					"is too large":   func() { become(write(strings.Repeat("#", 1<<20+1))) },
				},
				Nuisances: map[string]func(){
					"a file beside": func() { must(tb, os.WriteFile(path+".other", []byte("6.6.6.6:6\n"), 0o600)) },
				},
			}
		},
	})
}

func TestLocalDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{
		Many: 2 * found.Most,
		New: func(tb testing.TB) discoverytest.Source {
			dir := filepath.Join(tb.TempDir(), "registry")
			running := map[string]*os.File{} // by their files, processes
			n := 0
			end := func(path string) {
				if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					tb.Fatal(err)
				}
				running[path].Close()
				delete(running, path)
			}
			tb.Cleanup(func() {
				for path := range running {
					end(path)
				}
			})
			// One process for each hundred addresses, and one for each other text.
			set := func(addresses []discovery.Address, texts ...string) {
				must(tb, os.MkdirAll(dir, 0o700))
				must(tb, os.Chmod(dir, 0o700))
				for some := range slices.Chunk(addresses, 100) {
					text, err := discovery.EncodeEntry(1, some)
					must(tb, err)
					texts = append(texts, string(text))
				}
				before := slices.Collect(maps.Keys(running))
				for _, text := range texts {
					n++
					path := filepath.Join(dir, fmt.Sprintf("%d-%016x.json", n, n))
					file, err := filelock.Create(path + ".new")
					must(tb, err)
					_, err = file.WriteString(text)
					must(tb, err)
					must(tb, os.Rename(path+".new", path))
					running[path] = file
				}
				for _, path := range before {
					end(path)
				}
			}
			strategy := func() discovery.Strategy {
				return discovery.Local(discovery.Directory(dir), discovery.Interval(20*time.Millisecond))
			}
			return discoverytest.Source{
				Strategy: strategy(),
				Peer:     strategy,
				Set:      func(addresses []discovery.Address) { set(addresses) },
				Part:     func(addresses []discovery.Address) { set(addresses, "no JSON") },
				Failures: map[string]func(){
					"is garbage":     func() { set(nil, "no JSON") },
					"is open to all": func() { must(tb, os.Chmod(dir, 0o777)) },
				},
				Nuisances: map[string]func(){
					"files left behind": func() {
						must(tb, os.WriteFile(filepath.Join(dir, "1-ffffffffffffffff.json"), []byte("{}"), 0o600))
					},
					"another file": func() { must(tb, os.WriteFile(filepath.Join(dir, "notes.json"), []byte("{}"), 0o600)) },
				},
			}
		},
	})
}
