package rescue

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

const patience = time.Minute

// fleet is a test's processes.
type fleet struct {
	t    *testing.T
	dir  string
	size int
	tls  []string
	by   map[string]*process
}

type process struct {
	name  string
	store string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	ended chan struct{}
}

func newFleet(t *testing.T, size, processes int, tls ...string) *fleet {
	f := &fleet{t: t, dir: t.TempDir(), size: size, tls: tls, by: map[string]*process{}}
	for i := range processes {
		f.start(fmt.Sprintf("p%d", i))
	}
	f.wait("all are ready", func() bool {
		return !slices.ContainsFunc(f.names(), func(name string) bool { return !f.state(name).Ready })
	})
	return f
}

func (f *fleet) names() (names []string) {
	for name := range f.by {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (f *fleet) start(name string) *process {
	t := f.t
	p := &process{name: name, store: filepath.Join(f.dir, name), cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	text, err := json.Marshal(told{Name: name, Store: p.store, Meet: filepath.Join(f.dir, "meet"), Size: f.size, TLS: f.tls})
	require.NoError(t, err)
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	log, err := os.OpenFile(filepath.Join(f.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer log.Close()
	p.cmd.Stderr = log
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, w, err := os.Pipe() // of its own, so that what was written can be read after the end
	require.NoError(t, err)
	p.cmd.Stdout, p.out = w, bufio.NewScanner(out)
	p.out.Buffer(nil, 1<<20)
	require.NoError(t, p.cmd.Start())
	require.NoError(t, w.Close())
	go func() { p.cmd.Wait(); close(p.ended) }()
	f.by[name] = p
	t.Cleanup(func() {
		p.kill()
		out.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of %s:\n%s", name, tail(string(text), 40))
		}
	})
	return p
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// lose kills processes, all at once, and takes their stores away.
func (f *fleet) lose(names ...string) {
	for _, name := range names {
		f.by[name].cmd.Process.Kill()
	}
	for _, name := range names {
		<-f.by[name].ended
		require.NoError(f.t, os.RemoveAll(f.by[name].store))
		delete(f.by, name)
	}
}

func (f *fleet) ask(name string, q question) (r reply) {
	p := f.by[name]
	text, err := json.Marshal(q)
	require.NoError(f.t, err)
	_, err = p.in.Write(append(text, '\n'))
	require.NoError(f.t, err)
	require.True(f.t, p.out.Scan(), "%s ended", name)
	require.NoError(f.t, json.Unmarshal(p.out.Bytes(), &r))
	return r
}

func (f *fleet) state(name string) *embedded.ClusterState { return f.ask(name, question{}).State }

func (f *fleet) rescue(name string, lost ...string) string {
	return f.ask(name, question{Rescue: lost, Within: patience}).Err
}

// members are the names of those who are, when one of them sees as many as there should be.
func (f *fleet) members() (names []string) {
	f.t.Helper()
	f.wait("as many members as there should be", func() bool {
		for _, name := range f.names() {
			names = nil
			if s := f.state(name); s.Part == embedded.Member && s.Leader != "" {
				for _, p := range s.Members {
					if p.Live {
						names = append(names, p.Name)
					}
				}
			}
			if len(names) == f.size {
				return true
			}
		}
		return false
	})
	return names
}

func (f *fleet) wait(what string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			for _, name := range f.names() {
				f.t.Logf("%s: %+v", name, f.state(name))
			}
			require.FailNow(f.t, "waited for: "+what)
		}
	}
}

func (f *fleet) connect() jetstream.JetStream {
	var urls []string
	for _, name := range f.names() {
		for _, p := range f.state(name).Members {
			if p.URL != "" && p.Live && !slices.Contains(urls, p.URL) {
				urls = append(urls, p.URL)
			}
		}
	}
	nc, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	require.NoError(f.t, err)
	f.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(f.t, err)
	return js
}

func without(names []string, some ...string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(some, name) })
}
