package death_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/sysevents"
)

// The test's own binary starts again in other roles. A child is told by the first line of its standard input what to be,
// by later ones what to do, and ends when its standard input does.

const (
	roleOfProcess = "ROLEBUS_DEATH_PROCESS"
	roleServer    = "server"
	roleNode      = "node"
	roleHearer    = "hearer" // a bare client
	roleAsker     = "asker"  // one that asks, too
	roleSpinner   = "spinner"
)

// config is what a child is told first.
type config struct {
	URL, Node string
	TTL       time.Duration
	Dir       string // of a server
	Events    bool   // of a server: whether it tells accounts who went

	// Hold is how long a node keeps what its watch saw before it says so, all at once: telling would slow those who
	// have not seen it yet.
	Hold time.Duration
}

// line is what a child says: an answer, or what its watch saw.
type line struct {
	Kind   string // one of those below, or a rolebus.EventKind
	Text   string `json:",omitempty"` // the URL that is ready, the error
	Node   string `json:",omitempty"`
	Life   uint64 `json:",omitempty"` // of the node, or of the one that is ready
	Reason string `json:",omitempty"`
	At     int64  `json:",omitempty"` // wall clock, which all processes of a machine share, in ns
}

const (
	kindReady = "ready"
	kindDone  = "done"
	kindError = "error"

	kindWatching = "watching" // from here on anew: whoever is there is reported as joined
)

// say says lines, in one piece, whoever else says something.
func say(lines ...line) {
	var out []byte
	for _, l := range lines {
		raw, err := json.Marshal(l)
		if err != nil {
			panic(err)
		}
		out = append(append(out, raw...), '\n')
	}
	_, _ = os.Stdout.Write(out)
}

func runProcess(role string) error {
	in := bufio.NewScanner(os.Stdin)
	if !in.Scan() {
		return io.ErrUnexpectedEOF
	}
	var cfg config
	if err := json.Unmarshal(in.Bytes(), &cfg); err != nil {
		return err
	}
	switch role {
	case roleServer:
		return runServer(cfg, in)
	case roleNode:
		return runNode(cfg, in)
	case roleHearer, roleAsker:
		return runClient(cfg, role == roleAsker, in)
	case roleSpinner:
		runtime.GOMAXPROCS(1)
		go func() {
			for spun := 0; ; spun++ {
				runtime.KeepAlive(spun)
			}
		}()
		say(line{Kind: kindReady})
	}
	for in.Scan() {
	}
	return nil
}

func runServer(cfg config, in *bufio.Scanner) error {
	o := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: cfg.Dir, NoSigs: true, NoLog: true,
	}
	ns, err := server.NewServer(o)
	if err != nil {
		return err
	}
	if cfg.Events {
		sysevents.Import(ns, o)
	}
	ns.Start()
	if !ns.ReadyForConnections(patience) {
		return errors.New("not ready")
	}
	say(line{Kind: kindReady, Text: ns.ClientURL()})
	for in.Scan() {
	}
	return nil
}

func runNode(cfg config, in *bufio.Scanner) error {
	opts := []rolebus.Option{rolebus.WithNode(cfg.Node), rolebus.WithRoles("member")}
	if cfg.TTL > 0 {
		opts = append(opts, rolebus.WithTTL(cfg.TTL))
	}
	b, err := rolebus.Connect(context.Background(), cfg.URL, opts...)
	if err != nil {
		return err
	}
	saw := make(chan line, 1<<12)
	go watch(b, saw)
	go tell(saw, cfg.Hold)
	say(line{Kind: kindReady, Life: ownLife(b)})
	for in.Scan() {
		closed, err := obey(b, in.Text())
		if err != nil {
			say(line{Kind: kindError, Text: err.Error()})
			continue
		}
		say(line{Kind: kindDone, Life: ownLife(b)})
		if closed {
			break
		}
	}
	return nil
}

// watch passes on who joins and who leaves, and when that was seen.
func watch(b *rolebus.Bus, saw chan<- line) {
	for b.Err() == nil { // again after the scope was left
		saw <- line{Kind: kindWatching}
		for ev := range b.Watch(context.Background()) {
			at := time.Now().UnixNano()
			if ev.Kind == rolebus.NodeLeft || ev.Kind == rolebus.NodeJoined {
				saw <- line{
					Kind: ev.Kind.String(), Node: ev.Node.Name(), Life: ev.Node.Incarnation(), Reason: ev.Reason.String(), At: at,
				}
			}
		}
	}
}

func tell(saw <-chan line, hold time.Duration) {
	for l := range saw {
		lines := []line{l}
		time.Sleep(hold)
		for range len(saw) {
			lines = append(lines, <-saw)
		}
		say(lines...)
	}
}

// The commands that a node obeys.
const (
	doAdd    = "add"    // a role
	doRemove = "remove" // a role
	doRejoin = "rejoin" // leave the scope and join it again
	doClose  = "close"
)

func obey(b *rolebus.Bus, command string) (closed bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	verb, role, _ := strings.Cut(command, " ")
	switch verb {
	case doAdd:
		return false, b.AddRoles(ctx, rolebus.Role(role))
	case doRemove:
		return false, b.RemoveRoles(ctx, rolebus.Role(role))
	case doRejoin:
		if err := b.Leave(ctx, b.Scope.Name()); err != nil {
			return false, err
		}
		return false, b.AddRoles(ctx, "member")
	case doClose:
		return true, b.Close()
	}
	return false, fmt.Errorf("unknown command %q", command)
}

func ownLife(b *rolebus.Bus) uint64 {
	for n := range b.AllNodes().All() {
		if b.IsLocal(n.Name()) {
			return n.Incarnation()
		}
	}
	return 0
}

// child is a process that was started.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan line     // closed when it has ended
	ended   chan struct{} // closed when all that it said was heard
}

// startChild starts a process and returns when it is ready, with what it said then. What else it says goes to hear, in
// order.
func startChild(t *testing.T, role string, cfg config, hear func(line)) (*child, line, error) {
	c := &child{cmd: exec.Command(os.Args[0]), answers: make(chan line, 1), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), roleOfProcess+"="+role)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, line{}, err
	}
	c.in = in
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, line{}, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, line{}, err
	}
	go c.listen(out, hear)
	t.Cleanup(func() {
		_ = c.kill()
		<-c.ended
		_ = in.Close()
	})
	raw, err := json.Marshal(cfg)
	if err != nil {
		return nil, line{}, err
	}
	answer, err := c.tell(string(raw))
	return c, answer, err
}

func (c *child) listen(out io.Reader, hear func(line)) {
	defer close(c.ended)
	defer close(c.answers)
	for dec := json.NewDecoder(out); ; {
		var l line
		if err := dec.Decode(&l); err != nil {
			_ = c.cmd.Wait() // its output has ended
			return
		}
		switch l.Kind {
		case kindReady, kindDone, kindError:
			c.answers <- l
		default:
			hear(l)
		}
	}
}

// tell gives a child a line and waits for the answer.
func (c *child) tell(text string) (line, error) {
	if _, err := io.WriteString(c.in, text+"\n"); err != nil {
		return line{}, err
	}
	select {
	case answer, ok := <-c.answers:
		switch {
		case !ok:
			return line{}, errors.New("the process has ended")
		case answer.Kind == kindError:
			return line{}, errors.New(answer.Text)
		}
		return answer, nil
	case <-time.After(patience):
		return line{}, fmt.Errorf("no answer to %q in %v", text, patience)
	}
}

// kill ends the process, also a frozen one, without a word; one that has ended already is left alone.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}
