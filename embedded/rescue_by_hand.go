package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus/internal/regular"
)

// Rescue makes the cluster whole again when so many of its servers are lost for good, their stores with them, that those that are left cannot
// elect a leader: [ClusterState.Waiting] says so, and names them. It is for a person to call, once, in the process of one member that is left,
// with the names of all servers that are lost; docs/CLUSTER.md has it step by step. No program should decide this by itself: a server that is only
// cut off may have what the others do not, and would have to throw it away. So be sure that none of the lost runs any more, or will again with the store
// it had, and that every member that is left runs: which of them knows most is for their election to find out.
//
// It waits until no leader was seen for 10 seconds, has the servers that are left elect one among themselves, and removes the lost, one at a time. Then spares
// join as ever. It returns nil when as many servers as [WithSize] says are there, and have copied what is stored. If ctx ends before, the error says what
// it waited for, and what has begun goes on. If the process ends before, it is asked for again, with the names that are still there.
//
// What was acknowledged and is stored on a server that is left stays. What was acknowledged by lost servers only is lost: of streams that were on lost
// servers alone, as those with one replica may be, all. Such a stream is there afterwards, and empty.
//
// It refuses, and changes nothing, if any server leads, if one of the lost is connected or answers, if a name is none of the cluster's
// servers, if one that is not named is not connected, if this process is no member, or if a rescue is under way.
//
// Without code: a file named rescue in the store directory of a member that is left, with the names of the lost, one in a line, is the same. It is
// taken up once, is then named rescue.done, and the outcome is written to its end, and to the log.
func (c *ClusterServer) Rescue(ctx context.Context, lost ...string) error {
	done, begun := make(chan error, 1), make(chan error, 1)
	wrap := func(err error) error {
		if err != nil {
			err = fmt.Errorf("embedded cluster: rescue: %w", err)
		}
		return err
	}
	select {
	case c.commands <- func(l *loop) { begun <- l.rescue(lost, func(err error) { done <- err }) }:
	case <-c.ended:
		return wrap(ErrClosed)
	case <-ctx.Done():
		return wrap(context.Cause(ctx))
	}
	if err := <-begun; err != nil {
		return wrap(err)
	}
	select {
	case err := <-done:
		return wrap(err)
	case <-c.ended:
		return wrap(ErrClosed)
	case <-ctx.Done():
		return wrap(fmt.Errorf("it goes on, and waits for %s: %w", c.State().Waiting, context.Cause(ctx)))
	}
}

// rescue begins one, and has done told once of its end.
func (l *loop) rescue(lost []string, done func(error)) error {
	if err := l.brain.rescueOf(time.Now(), lost); err != nil {
		return err
	}
	l.log.Warn("a rescue was asked for", "lost", lost)
	l.rescued = done
	return nil
}

// rescueOver tells of a rescue that has ended.
func (l *loop) rescueOver() {
	if r := l.brain.rescue; r != nil && r.over && l.rescued != nil {
		if r.err != nil {
			l.log.Warn("the rescue was refused", "lost", r.lost, "error", r.err)
		} else {
			l.log.Info("the rescue is done: the cluster is whole", "lost", r.lost)
		}
		l.alone()
		l.rescued(r.err)
		l.rescued, l.brain.rescue = nil, nil
	}
}

// accompany gives this process's server a companion, if it has no route.
func (l *loop) accompany() (err error) {
	if l.companion == nil && l.member != nil && l.member.ns.NumRoutes() == 0 {
		l.companion, err = l.member.accompany(l.auth)
	}
	return err
}

// alone ends the companion of this process's server, if there is one.
func (l *loop) alone() {
	if l.companion != nil {
		l.companion.stop()
		l.companion = nil
	}
}

const (
	rescueFile     = "rescue"
	rescueDone     = "rescue.done"
	rescueLook     = time.Second
	mostRescueText = 64 << 10
)

// rescueByFile takes up the file by which a person asks for a rescue: it is renamed before anything is done, so that it is never taken up twice.
func (l *loop) rescueByFile(now time.Time) {
	if l.store.temporary || now.Sub(l.looked) < rescueLook {
		return
	}
	l.looked = now
	path, done := filepath.Join(l.store.dir, rescueFile), filepath.Join(l.store.dir, rescueDone)
	if _, err := os.Lstat(path); err != nil {
		return
	}
	if err := os.Rename(path, done); err != nil {
		if l.cannot.Now(now, "rescue"+err.Error()) {
			l.log.Warn("the file that asks for a rescue cannot be renamed, and so is not taken up", "error", err)
		}
		return
	}
	tell := func(outcome string) {
		f, err := os.OpenFile(done, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = fmt.Fprintf(f, "\n# %s: %s\n", time.Now().UTC().Format(time.RFC3339), outcome)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			l.log.Warn("the outcome of the rescue cannot be written", "outcome", outcome, "error", err)
		}
	}
	ended := func(err error) {
		if err != nil {
			tell("refused: " + err.Error())
			return
		}
		tell("done: the cluster is whole")
	}
	lost, err := readRescue(done)
	if err == nil {
		tell("taken up")
		err = l.rescue(lost, ended)
	}
	if err != nil { // of one that has begun, its end is logged
		l.log.Warn("the rescue was refused", "error", err)
		ended(err)
	}
}

// readRescue reads the names in such a file: one in a line, without empty lines and those that begin with #.
func readRescue(path string) ([]string, error) {
	text, _, err := regular.Read(path, mostRescueText)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			names = append(names, line)
		}
	}
	return names, nil
}

// rescue has all servers that are connected need no more than so many votes to elect a leader. Each of them answers.
func (r *running) rescue(ctx context.Context, votes int) error {
	answers, err := r.system.SubscribeSync(r.system.NewRespInbox())
	if err != nil {
		return err
	}
	defer answers.Unsubscribe()
	text, err := json.Marshal(server.JSApiMetaRescueRequest{QuorumNeeded: votes})
	if err != nil {
		return err
	}
	if err := r.system.PublishRequest(server.JSApiMetaRescue, answers.Subject, text); err != nil {
		return err
	}
	var own error = nats.ErrNoResponders
	ctx, cancel := context.WithTimeout(ctx, systemPatience)
	defer cancel()
	for range votes {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			break
		}
		var answer server.JSApiMetaRescueResponse
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return err
		}
		if answer.Server != r.ns.Name() {
			continue // one that is empty refuses, as it cannot lead
		}
		own = nil
		if answer.Error != nil {
			own = answer.Error
		}
	}
	return own
}
