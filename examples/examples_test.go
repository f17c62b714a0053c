// Package examples_test builds the example programs and runs them as a user does.
package examples_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/internal/atonce"
)

const deadline = 60 * time.Second

var (
	bin        string // where the programs are
	buildFlags []string
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "rolebus-examples-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		args := append([]string{"build", "-o", bin + string(filepath.Separator)}, buildFlags...)
		build := exec.Command("go", append(args, "./quickstart", "./events", "./sharding", "./polyglot", "./jobs", "./calls", "./leader", "./partitions", "./discovery", "./dashboard", "./selfformed")...)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		atonce.Tests(12, 4)
		flag.Parse()
		return m.Run()
	}())
}

func TestQuickstart(t *testing.T) {
	t.Parallel()
	p := start(t, "quickstart")
	began := time.Now()
	require.Equal(t, 0, p.wait(t), p)
	require.Less(t, time.Since(began), 40*time.Second)
	p.leavesNothing(t)

	require.Empty(t, p.stderr.String())
	out := p.stdout.String()
	inOrder(t, out,
		`a NATS server was started inside this process`,
		`three processes started and took their roles`,
		row("web-1", "web", "-"),
		row("worker-1", "packer", "invoicer"),
		row("worker-2", "packer", "invoicer, printer"),
		`web-1 took the role checkout in shop`,
		row("web-1", "checkout, web", "-"),
		`web-1 gave the role checkout back`,
		row("web-1", "web", "-"),
		`worker-2 was killed \(SIGKILL\): its roles went \(reason: (expired|unreachable).*\)`,
		row("web-1", "web", "-"),
		row("worker-1", "packer", "invoicer"),
		`worker-2 +- +- +-`,
		`worker-2 was started again and took its place`,
		row("worker-2", "packer", "invoicer, printer"),
		`a second web-1 took over; the first stopped itself \(ErrSuperseded\)`,
		row("web-1", "web", "-"),
		`all three said goodbye \(reason: left\)`,
		`web-1 +- +- +-`, `worker-1 +- +- +-`, `worker-2 +- +- +-`,
		`everything is closed, and nothing is left behind`,
	)
	require.NotContains(t, out, "\x1b")
	timed := regexp.MustCompile(`^ *\d+(\.\d+)? (ms|s) +\S`)
	for line := range strings.Lines(out) {
		require.LessOrEqual(t, len(line), 81, line)
		if strings.HasPrefix(strings.TrimLeft(line, " "), "w") || !strings.HasPrefix(line, " ") || strings.Contains(line, "roles in") {
			continue // of a table, or the title
		}
		require.Regexp(t, timed, line, "every step has its time")
	}
}

// row is a line of the quickstart's table.
func row(node, shop, billing string) string { return node + ` +\d+ +` + shop + " +" + billing + `\n` }

func TestQuickstartUsesAServerAndLeavesItAsItWas(t *testing.T) {
	t.Parallel()
	url := server(t).URL()
	mine := join(t, url, rolebus.WithNode("mine"), rolebus.WithRoles("web"), rolebus.WithDefaultScope("shop"))
	generation := mine.Generation()
	before := streams(t, url)

	p := start(t, "quickstart", "-url", url)
	require.Equal(t, 0, p.wait(t), p)
	p.leavesNothing(t)
	inOrder(t, p.stdout.String(), "connected to "+url, "everything is closed")

	require.Equal(t, before, streams(t, url))
	require.Len(t, mine.Nodes("web").Slice(), 1)
	require.Equal(t, generation, mine.Generation())
}

func TestQuickstartInterrupted(t *testing.T) {
	t.Parallel()
	p := start(t, "quickstart", "-pause", "1s")
	p.waitFor(t, "took their roles")
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.Equal(t, 130, p.wait(t), p)
	require.Equal(t, "quickstart: interrupted\n", p.stderr.String())
	p.leavesNothing(t)
}

// A parent that is killed cannot clean up its files, but no process outlives it.
func TestQuickstartKilled(t *testing.T) {
	t.Parallel()
	p := start(t, "quickstart", "-pause", "1s")
	p.waitFor(t, "took their roles")
	require.NoError(t, p.cmd.Process.Kill())
	p.wait(t)
	p.leavesNoProcess(t)
}

func TestQuickstartNobodyReads(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p := prepare(t, "quickstart")
	p.cmd.Stdout = w
	p.begin(t)
	require.NoError(t, w.Close())
	_, err = r.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, 1, p.wait(t), p)
	require.Contains(t, p.stderr.String(), "broken pipe")
	p.leavesNothing(t)
}

func TestQuickstartStepThatDoesNotHappen(t *testing.T) {
	t.Parallel()
	s := server(t)
	p := start(t, "quickstart", "-url", s.URL(), "-pause", "100ms", "-timeout", "5s")
	p.waitFor(t, "took their roles")
	require.NoError(t, s.Close())
	require.Equal(t, 1, p.wait(t), p)
	require.Contains(t, p.stderr.String(), "quickstart: ")
	require.NotContains(t, p.stdout.String(), "everything is closed")
	p.leavesNothing(t)
}

func TestQuickstartWithoutTheServer(t *testing.T) {
	t.Parallel()
	s := server(t)
	require.NoError(t, s.Close())
	p := start(t, "quickstart", "-url", s.URL())
	require.Equal(t, 1, p.wait(t), p)
	require.Contains(t, p.stderr.String(), "quickstart: connect: nats: no servers available")
	p.leavesNothing(t)
}

func TestQuickstartHelp(t *testing.T) {
	t.Parallel()
	p := start(t, "quickstart", "--help")
	require.Equal(t, 0, p.wait(t), p)
	for _, want := range []string{"go run ./examples/quickstart", "-url", "-pause", "-timeout"} {
		require.Contains(t, p.stderr.String(), want)
	}
	p = start(t, "quickstart", "worker-1")
	require.Equal(t, 2, p.wait(t), p)
}

func TestEventsDemonstration(t *testing.T) {
	t.Parallel()
	p := start(t, "events")
	require.Equal(t, 0, p.wait(t), p)
	p.leavesNothing(t)
	for _, way := range []string{"handler", "watch"} {
		inOrder(t, p.stdout.String(),
			way+` +NodeJoined +default/guest\n`,
			way+` +RoleAdded +default/guest +"waiter"\n`,
			way+` +RoleRemoved +default/guest +"waiter"\n`,
			way+` +RoleRemoved +default/guest +"cook" +\(left\)\n`,
			way+` +NodeLeft +default/guest +\(left\)\n`,
		)
	}
}

func TestEventsWithAServer(t *testing.T) {
	t.Parallel()
	url := server(t).URL()
	p := start(t, "events", "-url", url, "-node", "desk-2", "-roles", "a, b")
	for _, way := range []string{"handler", "watch"} {
		p.waitFor(t, way+` +RoleAdded +default/desk-2 +"b"\n`)
	}
	guest := join(t, url, rolebus.WithNode("guest"))
	require.Equal(t, []rolebus.Role{"a", "b"}, guest.Roles("desk-2").Slice())
	for _, way := range []string{"handler", "watch"} {
		p.waitFor(t, way+` +NodeJoined +default/guest\n`)
	}
	require.NoError(t, guest.Close())
	for _, way := range []string{"handler", "watch"} {
		p.waitFor(t, way+` +NodeLeft +default/guest +\(left\)\n`)
	}
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.Equal(t, 0, p.wait(t), p)
	p.leavesNothing(t)
}

func TestSharding(t *testing.T) {
	t.Parallel()
	p := start(t, "sharding")
	require.Equal(t, 0, p.wait(t), p)
	p.leavesNothing(t)

	tables := strings.Split(p.stdout.String(), "settled after")[1:]
	require.Len(t, tables, 3)
	hosts := [][]string{
		{"host-1", "host-2", "host-3"}, {"host-1", "host-2", "host-3", "host-4"}, {"host-1", "host-3", "host-4"},
	}
	var before []string // the owners of the shards
	for i, table := range tables {
		names, owners := owners(t, table)
		require.Equal(t, hosts[i], names)
		for shard := range before {
			moved := owners[shard] != before[shard]
			switch i {
			case 1:
				require.Equal(t, owners[shard] == "host-4", moved, "only what the new host took moved")
			case 2:
				require.Equal(t, before[shard] == "host-2", moved, "only what the old host had moved")
			}
		}
		before = owners
	}
}

// owners reads a table of the sharding example; every shard has one owner.
func owners(t *testing.T, table string) (names, owners []string) {
	t.Helper()
	owners = make([]string, 16)
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) != 1+len(owners) || words[0] == "shard" {
			continue
		}
		names = append(names, words[0])
		for shard, mark := range words[1:] {
			if mark != "." {
				require.Empty(t, owners[shard], "shard %d", shard)
				owners[shard] = words[0]
			}
		}
	}
	require.NotContains(t, owners, "")
	return names, owners
}

func TestShardingLeavesTheServerAsItWas(t *testing.T) {
	t.Parallel()
	url := server(t).URL()
	p := start(t, "sharding", "-url", url)
	require.Equal(t, 0, p.wait(t), p)
	p.leavesNothing(t)
	require.Empty(t, streams(t, url))
}

func TestPolyglot(t *testing.T) {
	t.Parallel()
	url := server(t).URL()
	p := start(t, "polyglot", "-url", url, "-bucket", "fleet")
	p.waitFor(t, `listening on fleet\.changes\.>\n`)

	opts := []rolebus.Option{rolebus.WithBucket("fleet"), rolebus.WithNode("web 1.prod@eu"), rolebus.WithDefaultScope("größe")}
	b := join(t, url, append(opts, rolebus.WithRoles("web"))...)
	require.NoError(t, b.AddRoles(t.Context(), "checkout", "mailer"))
	require.NoError(t, b.RemoveRoles(t.Context(), "web"))
	require.NoError(t, b.Close())

	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	b, err = rolebus.New(ctx, nc, append(opts, rolebus.WithTTL(time.Second))...)
	require.NoError(t, err)
	nc.Close() // no goodbye
	<-b.Done()

	node := `größe/web 1\.prod@eu  `
	p.waitFor(t, `expired +`+node)
	inOrder(t, p.stdout.String(),
		`state +`+node+`\["web"\]  generation \d+\n`,
		`delta +`+node+`\+\["checkout","mailer"\]  generation \d+\n`,
		`delta +`+node+`-\["web"\]  generation \d+\n`,
		`left +`+node+`generation \d+\n`,
		`state +`+node+`\[\]  generation \d+\n`,
		`expired +`+node+`generation \d+\n`,
	)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.Equal(t, 0, p.wait(t), p)
	p.leavesNothing(t)
}

func TestPolyglotDoesNotUseRolebus(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./polyglot").Output()
	require.NoError(t, err)
	var ours []string
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasPrefix(pkg, "github.com/rolebus/") {
			ours = append(ours, pkg)
		}
	}
	require.Equal(t, []string{"github.com/rolebus/rolebus/examples/polyglot"}, ours)
}

// program is one of the examples while it runs. It has a pipe open that every process that it starts inherits, so that
// the pipe's end tells that none of them is left.
type program struct {
	cmd            *exec.Cmd
	stdout, stderr output
	tmp            string
	alive          *os.File
	held           *os.File // its other end, to be closed here once the program has it
	ended          chan struct{}
}

func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := prepare(t, name, args...)
	p.begin(t)
	return p
}

func prepare(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{
		cmd: exec.Command(filepath.Join(bin, name), args...), tmp: t.TempDir(), ended: make(chan struct{}),
		stdout: output{grown: make(chan struct{})}, stderr: output{grown: make(chan struct{})},
	}
	var err error
	p.alive, p.held, err = os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { p.alive.Close() })
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.tmp)
	p.cmd.ExtraFiles = []*os.File{p.held}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	return p
}

func (p *program) begin(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Start())
	require.NoError(t, p.held.Close())
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
}

// wait returns the exit status.
func (p *program) wait(t *testing.T) int {
	t.Helper()
	return p.waitWithin(t, deadline)
}

func (p *program) waitWithin(t *testing.T, deadline time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(deadline):
		require.FailNow(t, "the program does not end", "%v", p)
	}
	return p.cmd.ProcessState.ExitCode()
}

// waitFor waits until the program has printed something.
func (p *program) waitFor(t *testing.T, pattern string) {
	t.Helper()
	p.waitIn(t, &p.stdout, pattern)
}

func (p *program) waitIn(t *testing.T, out *output, pattern string) {
	t.Helper()
	re, timeout := regexp.MustCompile(pattern), time.After(deadline)
	for {
		text, grown := out.read()
		if re.MatchString(text) {
			return
		}
		select {
		case <-grown:
		case <-p.ended:
			if !re.MatchString(out.String()) {
				require.FailNow(t, "the program ended without printing "+pattern, "%v", p)
			}
			return
		case <-timeout:
			require.FailNow(t, "the program does not print "+pattern, "%v", p)
		}
	}
}

func (p *program) leavesNothing(t *testing.T) {
	t.Helper()
	p.leavesNoProcess(t)
	files, err := os.ReadDir(p.tmp)
	require.NoError(t, err)
	require.Empty(t, files)
}

func (p *program) leavesNoProcess(t *testing.T) {
	t.Helper()
	require.NoError(t, p.alive.SetReadDeadline(time.Now().Add(deadline)))
	_, err := p.alive.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "a process of the program is still there")
}

func (p *program) String() string {
	return fmt.Sprintf("%v\nstdout:\n%s\nstderr:\n%s", p.cmd.Args, p.stdout.String(), p.stderr.String())
}

// output is what a program has printed so far.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	grown chan struct{} // closed when there is more
}

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.buf.Write(text)
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String(), o.grown
}

func (o *output) String() string {
	text, _ := o.read()
	return text
}

// inOrder finds each pattern behind the one before it.
func inOrder(t *testing.T, text string, patterns ...string) {
	t.Helper()
	rest := text
	for _, pattern := range patterns {
		at := regexp.MustCompile(pattern).FindStringIndex(rest)
		if at == nil {
			require.FailNow(t, "not found, or not there: "+pattern, "%s", text)
		}
		rest = rest[at[1]:]
	}
}

func server(t *testing.T) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(embedded.WithStoreDir(t.TempDir()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func join(t *testing.T, url string, opts ...rolebus.Option) *rolebus.Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	b, err := rolebus.Connect(ctx, url, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// streams lists what is on the server, by name.
func streams(t *testing.T, url string) []string {
	t.Helper()
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	list := js.StreamNames(ctx)
	var names []string
	for name := range list.Name() {
		names = append(names, name)
	}
	require.NoError(t, list.Err())
	slices.Sort(names)
	return names
}
