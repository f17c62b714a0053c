//go:build linux

package calls_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
)

const (
	worker = rolebus.Role("worker")
	ttl    = 3 * time.Second

	longestJob = 3 * time.Millisecond
	leaving    = 20 * time.Second // a drain takes no longer, whatever happens
	superseded = 3                // the exit code of one whose name a newer process has
)

// nodeConfig is what a node process is told.
type nodeConfig struct{ URL, Node, Ledger string }

const nodeChild = "node"

func init() { children[nodeChild] = runNode }

// runNode is the main function of a node process: it serves until SIGTERM, then it drains.
func runNode() error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var cfg nodeConfig
	if err := json.Unmarshal(line, &cfg); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, in) // it ends when the test does
		os.Exit(4)
	}()
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	ledger, err := os.OpenFile(cfg.Ledger, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	bus, err := rolebus.Connect(ctx, cfg.URL, rolebus.WithNode(cfg.Node), rolebus.WithTTL(ttl))
	if err != nil {
		return err
	}
	self := life{cfg.Node, bus.Snapshot().Node(cfg.Node).Incarnation()} // the same for as long as it does not leave
	if _, err := call.Handle(bus.Scope, "work", func(ctx context.Context, j job) (done, error) {
		// First of all, and in one write: also what is killed right now has run.
		if _, err := fmt.Fprintln(ledger, j.ID, self.incarnation); err != nil {
			panic(err)
		}
		time.Sleep(rand.N(longestJob)) // the work
		return done{j.ID, self.node, self.incarnation}, nil
	}); err != nil {
		return err
	}
	fmt.Println("joined")
	if err := bus.AddRoles(ctx, worker); err != nil && !errors.Is(err, rolebus.ErrSuperseded) {
		return err
	}
	select {
	case <-terminated:
	case <-bus.Done():
		if errors.Is(bus.Err(), rolebus.ErrSuperseded) {
			os.Exit(superseded)
		}
		return bus.Err()
	}
	ctx, cancel = context.WithTimeout(context.Background(), leaving)
	defer cancel()
	err = bus.Shutdown(ctx)
	if errors.Is(err, rolebus.ErrSuperseded) || errors.Is(bus.Err(), rolebus.ErrSuperseded) {
		os.Exit(superseded)
	}
	return err
}

// process is a node process as the test sees it.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	said   bytes.Buffer  // its stderr; once it has ended
	joined atomic.Bool   // it said so
	ended  chan struct{} // closed when it has ended
}

// startProcess starts a node, whose name and number make the name of its ledger.
func startProcess(url, dir, node string, number int) (*process, error) {
	raw, err := json.Marshal(nodeConfig{url, node, filepath.Join(dir, fmt.Sprintf("%s-%d", node, number))})
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childVariable+"="+nodeChild)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a frozen one does not see the end of its input
	p.cmd.Stderr = &p.said
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		if line, _ := io.ReadAll(io.LimitReader(out, int64(len("joined\n")))); len(line) > 0 {
			p.joined.Store(true)
		}
		_ = p.cmd.Wait() // how it ended stands in ProcessState
		close(p.ended)
	}()
	_, err = p.stdin.Write(append(raw, '\n'))
	if errors.Is(err, syscall.EPIPE) {
		err = nil // it has been killed already
	}
	return p, err
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// awaitJoin waits until it has joined, or has ended, or nobody has patience any more, which it is judged by.
func (p *process) awaitJoin() {
	for end := time.Now().Add(patience); !p.joined.Load() && p.running() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// signal reaches only this process; one that has ended already is left alone.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// kill kills it, frozen or not, and waits until it is gone.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.ended
	_ = p.stdin.Close()
}

// ledgers reads what has run, from the files of all processes: how often each job has, and where.
func ledgers(dir string) (map[uint64][]life, error) {
	ran := map[uint64][]life{}
	files, err := filepath.Glob(filepath.Join(dir, "*-*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := readLedger(file, ran); err != nil {
			return nil, err
		}
	}
	return ran, nil
}

func readLedger(path string, ran map[uint64][]life) error {
	name := filepath.Base(path)
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var id uint64
		at := life{node: name[:bytes.IndexByte([]byte(name), '-')]}
		if _, err := fmt.Sscan(lines.Text(), &id, &at.incarnation); err != nil {
			return fmt.Errorf("%s: %q: %w", name, lines.Text(), err)
		}
		ran[id] = append(ran[id], at)
	}
	return nil
}
