package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
)

//go:embed index.html
var index []byte

const (
	atMost  = 100 * time.Millisecond // between two states of a stream: a burst of changes is one
	atLeast = 2 * time.Second        // so that a page notices when its stream is dead, and sees a view go stale
)

// dashboard wakes the streams when something changes; what they send is read from the bus, so none ever falls behind.
type dashboard struct {
	mu      sync.Mutex
	streams map[chan struct{}]bool // each has room for one
}

func newDashboard() *dashboard { return &dashboard{streams: map[chan struct{}]bool{}} }

// handler wakes everybody for each event, of every scope.
func (d *dashboard) handler() rolebus.Handler {
	wake := func(rolebus.Event) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for stream := range d.streams {
			select {
			case stream <- struct{}{}:
			default: // it is awake
			}
		}
	}
	return rolebus.Handler{
		OnNodeJoined: wake, OnNodeLeft: wake, OnNodeBuried: wake, OnRoleAdded: wake, OnRoleRemoved: wake, OnMetaChanged: wake,
	}
}

func (d *dashboard) routes(bus *rolebus.Bus) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(index) // fails only if the browser has gone
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { d.stream(w, r, bus) })

	// Alive is a process whose bus has not ended. An outage of NATS is no reason to restart it: that would not help, and it answers
	// from what it knows.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, bus.Err()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, bus.Check()) })
	return mux
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// state is what a page shows.
type state struct {
	Scopes []*rolebus.Snapshot `json:"scopes"`
	Health string              `json:"health,omitempty"` // what is wrong
}

func stateOf(bus *rolebus.Bus) state {
	now := state{Scopes: []*rolebus.Snapshot{}}
	for _, name := range bus.Scopes() {
		now.Scopes = append(now.Scopes, bus.In(name).Snapshot())
	}
	if err := bus.Check(); err != nil {
		now.Health = err.Error()
	}
	return now
}

// stream sends the state now, and again whenever it has changed, until the browser goes or the bus has stopped.
func (d *dashboard) stream(w http.ResponseWriter, r *http.Request, bus *rolebus.Bus) {
	changed := make(chan struct{}, 1)
	d.mu.Lock()
	d.streams[changed] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.streams, changed)
	}()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	idle := time.NewTicker(atLeast)
	defer idle.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-r.Context().Done():
			return
		}
		text, err := json.Marshal(stateOf(bus))
		if err == nil {
			_, err = fmt.Fprintf(w, "data: %s\n\n", text)
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil || bus.Err() != nil {
			return
		}
		select {
		case <-changed:
		case <-idle.C:
		case <-bus.Done():
		case <-r.Context().Done():
			return
		}
		pause.Reset(atMost)
	}
}
