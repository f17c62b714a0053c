package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
)

const (
	memberEnv = "ROLEBUS_LEADER_MEMBER" // set: this process is one of the three, and this is its memberSpec

	// ttl is short, so that the story is. It is how long nobody leads after a crash, so a program that cannot wait may choose it so, and must
	// live with servers that are never silent for longer.
	ttl   = 3 * time.Second
	pace  = 50 * time.Millisecond // between two lines
	going = 2 * time.Second       // a process that is drained takes no longer

	// What a member is told on its stdin, a line each.
	hold  = "hold"  // look at the term, and do not write yet
	write = "write" // what it held
	drain = "drain"
)

// memberSpec is what the story tells a process at its start: where NATS is, and the file.
type memberSpec struct{ URL, File, Name string }

// said is what a member tells the story on its stdout.
type said struct {
	Waits bool   // it is there, and wants to lead
	Leads uint64 // the token of a term that has begun
	Ends  string // why it is over; "" if it is not
	Holds bool
	Late  bool // a line of it was refused
}

// why tells why the term is over.
func (s said) why() string { return strings.TrimPrefix(s.Ends, "rolebus: ") }

func memberMain(raw string) int {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole group; the story says when to go
	var spec memberSpec
	err := json.Unmarshal([]byte(raw), &spec)
	if err == nil {
		err = (&member{memberSpec: spec, holds: make(chan chan struct{}, 1)}).run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

type member struct {
	memberSpec
	holds chan chan struct{} // what to wait for before the next line is written
}

// run wants to lead until it is drained or its stdin ends: when the story says so, and also when it dies, however it dies.
func (m *member) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	bus, err := rolebus.Connect(ctx, m.URL, rolebus.WithNode(m.Name), rolebus.WithTTL(ttl))
	if err != nil {
		return err
	}
	defer bus.Close()
	go m.obey(bus, cancel)
	tell(said{Waits: true})

	// This is all that it takes: the function runs in one process at a time, again and again, with the token of each term.
	err = exclusive.Run(ctx, bus.Scope, "report", m.lead)
	if ctx.Err() != nil || errors.Is(err, rolebus.ErrClosed) {
		return nil
	}
	return err
}

// lead writes the report for as long as this process leads.
func (m *member) lead(ctx context.Context, token uint64) error {
	tell(said{Leads: token})
	for n := 1; ctx.Err() == nil; n++ {
		select { // between the look and the write anything may happen: the story has a process be frozen here
		case released := <-m.holds:
			tell(said{Leads: token, Holds: true})
			<-released
		default:
		}
		err := m.write(token, fmt.Sprintf("%s, line %d", m.Name, n))
		if errors.Is(err, errOldToken) {
			tell(said{Leads: token, Late: true}) // so the term is over: its context is, or will be at once
		} else if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pace):
		}
	}
	tell(said{Leads: token, Ends: context.Cause(ctx).Error()})
	return nil
}

// write writes a line of the report. It takes no context: what was begun may arrive late, as it does in life.
func (m *member) write(token uint64, text string) error {
	answer, err := http.PostForm(m.File, url.Values{"token": {strconv.FormatUint(token, 10)}, "text": {text}})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusConflict:
		return errOldToken
	default:
		return errors.New(answer.Status)
	}
}

// obey does what the story says, until it says nothing any more.
func (m *member) obey(bus *rolebus.Bus, end context.CancelFunc) {
	defer end()
	released := make(chan struct{})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case hold:
			m.holds <- released
		case write:
			close(released)
			released = make(chan struct{})
		case drain: // the term is passed on first, and then comes the goodbye
			ctx, cancel := context.WithTimeout(context.Background(), going)
			if err := bus.Shutdown(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			cancel()
			return
		}
	}
	select {
	case <-released:
	default:
		close(released)
	}
}

func tell(s said) { _ = json.NewEncoder(os.Stdout).Encode(s) }
