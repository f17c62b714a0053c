//go:build linux

package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// scopesOf is what should be, or is, in each scope: roles by node.
type scopesOf map[string]map[string][]string

// settle heals everything, and checks promises 1 and 8: then what every process sees, what the bucket holds, and what
// the owners wanted last, are the same, within the bound; and a while later, see checkDead, nobody shows a ghost any more. The bucket may
// hold the record of one without a switch for as long as nobody takes it away.
func (f *fleet) settle() (violations []violation, err error) {
	if err := f.healAll(); err != nil {
		return nil, err
	}
	healedAt := now()
	well, err := f.cure()
	if err != nil {
		return nil, err
	}
	if wrong := f.foreignInTheEnd(); wrong != "" {
		violations = append(violations, violation{0, now(), nil, wrong})
	}
	from := max(healedAt, well)
	f.note("all is healed; the servers took %v more to be well", from.since(healedAt).Round(time.Millisecond))
	broken := f.agree(1, from, convergence, func() string { return f.unsettled(false) })
	if broken == nil {
		f.note("all agree %v after that", now().since(from).Round(time.Millisecond))
		broken = f.agree(15, from, convergence, func() string { return f.uncallable() })
	}
	if broken == nil {
		broken = f.agree(4, from, forgotten, func() string { return f.unsettled(true) })
	}
	if broken != nil {
		violations = append(violations, *broken)
	}
	return violations, nil
}

// agree waits until nobody complains, and returns a broken promise if that takes too long.
func (f *fleet) agree(promise int, from instant, bound time.Duration, unsettled func() string) *violation {
	complaint := ""
	if f.await(bound-now().since(from), "", func() bool {
		complaint = unsettled()
		return complaint == ""
	}) == nil {
		return nil
	}
	at := now()
	text := fmt.Sprintf("%v after all was healed and the servers were well: %s", at.since(from).Round(time.Millisecond), complaint)
	// For whoever looks for the cause: does it ever?
	if f.await(30*time.Second, "", func() bool { return unsettled() == "" }) == nil {
		text += fmt.Sprintf("\n(all agreed %v after it)", now().since(from).Round(time.Millisecond))
	} else {
		text += "\n(and 30 s later still: " + unsettled() + ")"
	}
	return &violation{promise, at, nil, text}
}

// foreignInTheEnd says what has become of the foreign bucket; "" if it is as it was, or the servers have lost it.
func (f *fleet) foreignInTheEnd() string {
	f.foreign.mu.Lock()
	defer f.foreign.mu.Unlock()
	ctx, cancel := context.WithTimeout(f.ctx, 2*time.Second)
	defer cancel()
	wrong, _, err := f.foreign.look(ctx, f)
	if err != nil {
		f.note("foreign: %v", err)
	}
	return wrong
}

// healAll makes all links good, and all processes run.
func (f *fleet) healAll() error {
	for i, s := range f.servers {
		for _, l := range f.routes[i] {
			if l != nil {
				l.become(shape{}, false)
			}
		}
		_ = s.signal(syscall.SIGCONT)
	}
	for _, s := range f.seats {
		s.link(allServers, shape{}, false)
		s.mu.Lock()
		lives := slices.Clone(s.lives)
		s.mu.Unlock()
		for _, lf := range lives {
			s.thaw(lf)
		}
		if !s.now().Running() {
			if err := s.start(); err != nil {
				return err
			}
		}
	}
	for _, s := range f.servers {
		f.tryStart(s)
	}
	return nil
}

// unsettled says what is not as it should be in the end, "" if all is. Whether somebody still shows ghosts it looks at only if asked.
func (f *fleet) unsettled(ghosts bool) string {
	wanted, complaint := f.wanted()
	if complaint != "" {
		return complaint
	}
	stored, err := f.stored()
	if err != nil {
		return "the bucket: " + err.Error()
	}
	if diff := disagreement(wanted, stored); diff != "" {
		return "the bucket " + diff
	}
	for _, s := range f.seats {
		lf := s.now()
		if !lf.Running() {
			continue
		}
		answer := f.ask(lf.process, order{Op: opDump}, 2*time.Second)
		if answer == nil {
			return s.name + " does not answer"
		}
		seen := scopesOf{}
		for scope, nodes := range answer.Dump.Scopes {
			seen[scope] = map[string][]string{}
			for node, v := range nodes {
				if ghosts || !f.died(node) {
					seen[scope][node] = v.Roles
				}
			}
		}
		mine := maps.Clone(wanted)
		maps.DeleteFunc(mine, func(scope string, _ map[string][]string) bool { return !slices.Contains(s.scopes, scope) })
		for scope := range mine {
			if !s.observer && wanted[scope][s.name] == nil {
				mine[scope] = map[string][]string{} // it left, and could not join again: there it sees nothing
			}
		}
		if diff := disagreement(mine, seen); diff != "" {
			return s.name + " " + diff
		}
	}
	return ""
}

// uncallable says which of the processes could not call which nodes; "" if all could call all that they see.
func (f *fleet) uncallable() string {
	var complaints []string
	for _, s := range f.seats {
		lf := s.now()
		if !lf.Running() {
			continue
		}
		answer := f.ask(lf.process, order{Op: opCall, Timeout: callTimeout}, convergence)
		switch {
		case answer == nil:
			complaints = append(complaints, s.name+" does not answer")
		case answer.Text != "":
			complaints = append(complaints, s.name+" calls "+answer.Text)
		}
	}
	return strings.Join(complaints, "\n")
}

// wanted is what the living nodes wanted last.
func (f *fleet) wanted() (w scopesOf, complaint string) {
	w = scopesOf{"alpha": {}, "beta": {}}
	var complaints []string
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	for _, s := range f.seats {
		s.mu.Lock()
		lives := slices.Clone(s.lives)
		s.mu.Unlock()
		for i, lf := range lives {
			if newest := i == len(lives)-1; !newest && lf.Running() {
				complain("an older life of %s, #%d, still runs", s.name, lf.number)
				continue
			} else if !newest || !lf.Running() {
				continue
			}
			if !lf.settled() {
				complain("%s#%d has not done yet what it was told", s.name, lf.number)
			}
			lf.mu.Lock()
			for scope, roles := range lf.wants {
				w[scope][s.name] = slices.Sorted(slices.Values(roles))
			}
			lf.mu.Unlock()
		}
	}
	return w, strings.Join(complaints, "; ")
}

// stored reads the bucket as any KV client would.
func (f *fleet) stored() (scopesOf, error) {
	ctx, cancel := context.WithTimeout(f.ctx, 2*time.Second)
	defer cancel()
	kv, err := f.js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Stop() }()
	out := scopesOf{"alpha": {}, "beta": {}}
	for {
		select {
		case entry := <-w.Updates():
			if entry == nil {
				return out, nil
			}
			var body struct {
				Scope, Node string
				Roles       []string
			}
			if err := json.Unmarshal(entry.Value(), &body); err != nil {
				return nil, fmt.Errorf("%s holds no record", entry.Key())
			}
			if entry.Key() != body.Scope+"."+body.Node {
				return nil, fmt.Errorf("%s holds the record of %s in %s", entry.Key(), body.Node, body.Scope)
			}
			if !f.died(body.Node) || f.switched(ctx, entry.Key()) {
				out[body.Scope][body.Node] = body.Roles
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// disagreement says how a view differs from what is wanted.
func disagreement(wanted, seen scopesOf) string {
	var diffs []string
	for _, scope := range slices.Sorted(maps.Keys(wanted)) {
		for _, node := range slices.Sorted(maps.Keys(wanted[scope])) {
			roles, found := seen[scope][node]
			switch {
			case !found:
				diffs = append(diffs, fmt.Sprintf("lacks %s in %s", node, scope))
			case !slices.Equal(roles, wanted[scope][node]):
				diffs = append(diffs, fmt.Sprintf("shows %s in %s as [%s], it is [%s]", node, scope, told(roles), told(wanted[scope][node])))
			}
		}
	}
	for _, scope := range slices.Sorted(maps.Keys(seen)) {
		for _, node := range slices.Sorted(maps.Keys(seen[scope])) {
			if _, found := wanted[scope][node]; !found {
				diffs = append(diffs, fmt.Sprintf("shows %s in %s, which is not there", node, scope))
			}
		}
	}
	return strings.Join(diffs, "; ")
}
