package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

// work is one thing to do with every system.
type work struct {
	name, about string
	measure     func(ctx context.Context, l *lab) ([]result.Row, error)
}

var works = []work{
	{"read", "which nodes have a role, asked in a process that knows it; 1,000 nodes", measureRead},
	{"change", "one change of a record, in another process than the one that sees it; records of 200 bytes", measureChange},
	{"gone", "SIGKILL of a member, until another process knows", measureGone},
	{"catchup", "a process that comes new reads 10,000 records, from a server in another process", measureCatchUp},
	{"bystander", "what a process hears and computes while 1,000 others heartbeat every 2 s, and nothing changes", measureBystander},
	{"call", "a function of another process is called, and answers with its input", measureCall},
}

// parts is what a child process can be.
var parts = map[string]process.Part{
	"nats":      playNATS,
	"etcd":      playEtcd,
	"serf":      playSerf,
	"read":      playRead,
	"writer":    playWriter,
	"reader":    playReader,
	"member":    playMember,
	"observer":  playObserver,
	"load":      playLoad,
	"catchup":   playCatchUp,
	"heartbeat": playHeartbeat,
	"bystander": playBystander,
	"callee":    playCallee,
	"caller":    playCaller,
}

// modules are those whose versions the results depend on.
var modules = []string{
	"github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2", "github.com/hashicorp/serf", "github.com/hashicorp/memberlist",
	"go.etcd.io/etcd/server/v3", "google.golang.org/grpc",
}

func chosen(o options) []work {
	var out []work
	for _, w := range works {
		if o.only.MatchString(w.name) {
			out = append(out, w)
		}
	}
	return out
}

// measure does all chosen works, then all of them again: what disturbs the machine for a while disturbs one run.
func measure(ctx context.Context, o options, progress io.Writer) ([]result.Row, error) {
	var runs [][]result.Row
	for run := range o.runs {
		var rows []result.Row
		for _, w := range chosen(o) {
			fmt.Fprintf(progress, "run %d of %d: %s\n", run+1, o.runs, w.name)
			got, err := w.do(ctx, o.quick, progress)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			rows = append(rows, got...)
		}
		runs = append(runs, rows)
	}
	return result.Merge(runs), nil
}

// do does one work in a lab of its own.
func (w work) do(ctx context.Context, quick bool, progress io.Writer) ([]result.Row, error) {
	l, err := openLab(quick, progress)
	if err != nil {
		return nil, err
	}
	rows, err := w.measure(ctx, l)
	if err = errors.Join(err, l.close()); err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].Work = w.name
	}
	return rows, nil
}
