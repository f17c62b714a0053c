package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// writer makes the nth change and returns as soon as the system's own call does.
type writer interface {
	write(ctx context.Context, n int) error
	address() string // where readers join it; "" if there is a server
	close() error
}

// writers start a writer, and readers a reader that calls saw with the number of each change, and the time at which it had it.
// A reader is in place when its function returns; it ends when ctx is over.
var writers = map[string]func(ctx context.Context, url string) (writer, error){
	"core": writeCore, "stored": writeStored, "kv": writeKV, "rolebus": writeRolebus, "etcd": writeEtcd, "serf": writeSerf,
}

var readers = map[string]func(ctx context.Context, url string, saw func(n int, at time.Time)) (closer, error){
	"core": readCore, "stored": readStored, "kv": readKV, "rolebus": readRolebus, "etcd": readEtcd, "serf": readSerf,
}

type closer func() error

func playWriter(ctx context.Context, p *process.Process) error {
	start := writers[p.Config.System]
	if start == nil {
		return errors.New("nobody writes so")
	}
	w, err := start(ctx, p.Config.URL)
	if err != nil {
		return err
	}
	p.Obey(w.address(), func(o process.Order) (process.Report, error) {
		from := time.Now()
		err := w.write(ctx, o.N)
		return process.Report{From: from.UnixNano(), At: time.Now().UnixNano()}, err
	})
	return w.close()
}

func playReader(ctx context.Context, p *process.Process) error {
	start := readers[p.Config.System]
	if start == nil {
		return errors.New("nobody reads so")
	}
	end, err := start(ctx, p.Config.URL, func(n int, at time.Time) {
		p.Say(process.Report{Kind: process.Event, N: n, At: at.UnixNano()})
	})
	if err != nil {
		return err
	}
	p.Stay("")
	return end()
}

// must is for what a reader decodes: it cannot be wrong, unless this program is.
func must(n int, err error) int {
	if err != nil {
		panic(fmt.Sprintf("a record that nobody wrote: %v", err))
	}
	return n
}
