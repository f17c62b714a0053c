package calls_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// askerConfig is what a process is told that asks for keys.
type askerConfig struct {
	URL   string
	Nodes int
	Keys  int
}

const askerChild = "asker"

func init() { children[askerChild] = runAsker }

// runAsker asks for each key once, and writes who answered, in the order of the keys.
func runAsker() error {
	line, err := bufio.NewReader(os.Stdin).ReadBytes('\n')
	if err != nil {
		return err
	}
	var cfg askerConfig
	if err := json.Unmarshal(line, &cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	bus, err := rolebus.Connect(ctx, cfg.URL, rolebus.WithObserver())
	if err != nil {
		return err
	}
	defer func() { _ = bus.Close() }()
	if err := bus.WaitFor(ctx, "worker", cfg.Nodes); err != nil {
		return err
	}
	m, err := call.New[job, done](bus.Scope, "worker", "work", call.HashBy(func(j job) string { return fmt.Sprint("key-", j.ID) }))
	if err != nil {
		return err
	}
	owners := make([]string, cfg.Keys)
	ends := make(chan error)
	const atOnce = 8
	for first := range atOnce {
		go func() {
			for i := first; i < cfg.Keys; i += atOnce {
				answer, err := m.Call(ctx, job{uint64(i + 1)})
				if err != nil {
					ends <- err
					return
				}
				owners[i] = answer.Node
			}
			ends <- nil
		}()
	}
	for range atOnce {
		err = errors.Join(err, <-ends)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(owners)
}

// Two processes agree on the node of every key, though they have heard of the nodes at other times, and in another order: one was there
// before them.
func TestTwoProcessesAgreeOnEveryKey(t *testing.T) {
	srv := rolebustest.NewServer(t)
	require.NoError(t, rolebus.Provision(t.Context(), srv.Conn()))
	cfg := askerConfig{srv.URL(), 10, *callsFlag}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	type asker struct {
		*exec.Cmd
		out bytes.Buffer
	}
	start := func() *asker {
		a := &asker{Cmd: exec.CommandContext(ctx, os.Args[0])}
		raw, err := json.Marshal(cfg)
		require.NoError(t, err)
		a.Env = append(os.Environ(), childVariable+"="+askerChild)
		a.Stdin, a.Stdout, a.Stderr = bytes.NewReader(append(raw, '\n')), &a.out, os.Stderr
		require.NoError(t, a.Start())
		return a
	}
	wait := func(a *asker) (owners []string) {
		require.NoError(t, a.Wait())
		require.NoError(t, json.Unmarshal(a.out.Bytes(), &owners))
		return owners
	}
	early := start()
	names := nodeNames(cfg.Nodes)
	slices.Reverse(names)
	counters(t, srv, names...)
	late := start()
	one, other := wait(early), wait(late)
	require.Len(t, one, cfg.Keys)
	differ := 0
	for i := range one {
		if one[i] != other[i] {
			differ++
		}
	}
	require.Zero(t, differ)
	share := map[string]int{}
	for _, owner := range one {
		share[owner]++
	}
	require.Len(t, slices.Collect(maps.Keys(share)), cfg.Nodes)
}
