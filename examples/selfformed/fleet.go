package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus/embedded"
)

// ending is how long the processes have to end, all together.
const ending = 5 * time.Second

// fleet is the processes, as they say themselves what they are.
type fleet struct {
	dir     string
	spec    memberSpec // what they have in common
	running []*process
	ends    chan *process
	leaving map[*process]bool // those whose end belongs to the story
	before  []string          // the members at the end of the last step
}

func newFleet() (_ *fleet, err error) {
	free, err := net.ListenPacket("udp", "127.0.0.1:0") // a port that nobody has
	if err != nil {
		return nil, err
	}
	port := free.LocalAddr().(*net.UDPAddr).Port
	if err := free.Close(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rolebus-selfformed-")
	if err != nil {
		return nil, err
	}
	return &fleet{
		dir: dir, spec: memberSpec{Secret: rand.Text(), Port: port},
		ends: make(chan *process, 32), leaving: map[*process]bool{},
	}, nil
}

func (f *fleet) start(names ...string) error {
	for _, name := range names {
		spec := f.spec
		spec.Name, spec.Dir = name, filepath.Join(f.dir, name)
		p, err := startProcess(spec, f.ends)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.running = append(f.running, p)
	}
	return nil
}

// hasEnded takes in that a process has. The error says that it should not have.
func (f *fleet) hasEnded(p *process) error {
	f.running = slices.DeleteFunc(f.running, func(q *process) bool { return p == q })
	if !f.leaving[p] {
		return fmt.Errorf("%s ended: %s", p.name, p.end())
	}
	return nil
}

// process is the one of a name, nil if none runs.
func (f *fleet) process(name string) *process {
	for _, p := range f.running {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (f *fleet) names() []string {
	var names []string
	for _, p := range f.running {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return names
}

// members are those that say that they are, sorted.
func (f *fleet) members() []string {
	return slices.DeleteFunc(f.names(), func(name string) bool { return f.process(name).now().Part != embedded.Member })
}

// leader is who leads, as one of them says.
func (f *fleet) leader() string { return f.running[0].now().Leader }

func (f *fleet) url() string { return f.running[0].now().URL }

// isWhole says whether all are ready, and agree about who is what.
func (f *fleet) isWhole() bool {
	members, leader := f.members(), f.leader()
	if len(members) != size || !slices.Contains(members, leader) {
		return false
	}
	for _, p := range f.running {
		if now := p.now(); !now.Ready || now.Leader != leader || !slices.Equal(now.Members, members) {
			return false
		}
	}
	return true
}

// settled is called when a step has ended.
func (f *fleet) settled() { f.before = f.members() }

// newcomer is a member that was none when the last step ended, "" if there is none.
func (f *fleet) newcomer() string {
	for _, name := range f.members() {
		if !slices.Contains(f.before, name) {
			return name
		}
	}
	return ""
}

// parts tells who is what.
func (f *fleet) parts() string {
	var others, spares []string
	for _, name := range f.names() {
		switch {
		case f.process(name).now().Part != embedded.Member:
			spares = append(spares, name)
		case name != f.leader():
			others = append(others, name)
		}
	}
	return fmt.Sprintf("leader: %s  members: %s  spares: %s", f.leader(), strings.Join(others, " "), strings.Join(spares, " "))
}

// said tells what each process said last, for a failure.
func (f *fleet) said() string {
	var text strings.Builder
	for _, p := range f.running {
		fmt.Fprintf(&text, "\n%s says: %+v", p.name, p.now())
	}
	return text.String()
}

// dismiss has all say goodbye, and end.
func (f *fleet) dismiss() {
	for _, p := range f.running {
		p.dismiss()
	}
}

// close ends all, and removes what they stored.
func (f *fleet) close() error {
	f.dismiss()
	late := time.After(ending)
	var errs []error
	for _, p := range f.running {
		errs = append(errs, p.stop(late))
	}
	return errors.Join(append(errs, os.RemoveAll(f.dir))...)
}
