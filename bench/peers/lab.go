package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// lab is where one work is done once: its processes and its files. Nothing of it is left when it is closed.
type lab struct {
	quick    bool
	dir      string
	progress io.Writer
	clients  []*process.Child
	servers  []*process.Child
}

func openLab(quick bool, progress io.Writer) (*lab, error) {
	dir, err := os.MkdirTemp("", "rolebus-peers-")
	if err != nil {
		return nil, err
	}
	return &lab{quick: quick, dir: dir, progress: progress}, nil
}

// close ends the processes, those first that say goodbye to a server, and removes the files.
func (l *lab) close() error {
	return errors.Join(closeAll(l.clients), closeAll(l.servers), os.RemoveAll(l.dir))
}

func closeAll(children []*process.Child) error {
	errs := make([]error, len(children))
	var wg sync.WaitGroup
	for i, c := range children {
		wg.Go(func() { errs[i] = c.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// start starts a client that lives until the lab is closed, or is closed before.
func (l *lab) start(ctx context.Context, cfg process.Config) (*process.Child, process.Report, error) {
	c, ready, err := process.Start(ctx, cfg)
	if err == nil {
		l.clients = append(l.clients, c)
	}
	return c, ready, err
}

// serve starts a server and returns where clients find it. The part is nats, etcd or serf; the configuration is the part's.
func (l *lab) serve(ctx context.Context, cfg process.Config) (url string, err error) {
	cfg.Dir = filepath.Join(l.dir, strconv.Itoa(len(l.servers)))
	c, ready, err := process.Start(ctx, cfg)
	if err == nil {
		l.servers = append(l.servers, c)
	}
	return ready.Text, err
}

// tell says on the progress line what happens now.
func (l *lab) tell(format string, args ...any) {
	fmt.Fprintf(l.progress, "    "+format+"\n", args...)
}

// count is how many times to do something.
func (l *lab) count(full, quick int) int {
	if l.quick {
		return quick
	}
	return full
}
