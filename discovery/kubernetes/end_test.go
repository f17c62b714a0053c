package kubernetes_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
)

// Who ends leaves no connection and no goroutine, wherever he is.
func TestNothingIsLeft(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, c := range map[string]struct{ list, watch http.HandlerFunc }{
		"in a list":           {hang, quiet},
		"before a watch":      {nil, hang},
		"in a watch":          {nil, quiet},
		"in lists":            {nil, says(403, "no")},
		"after failures":      {says(500, "oops"), quiet},
		"after what is none":  {says(200, "none"), quiet},
		"after broken events": {nil, says(200, "none")},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.answer(c.list, c.watch)
			before := runtime.NumGoroutine()
			for range 5 {
				h := follow(t, kubernetes.Service("nats", f.with()...))
				lists := f.count("list")
				eventually(t, "it asks", func() bool { return f.count("list") > lists && (c.list != nil || f.count("watch") > 0) })
				require.Error(t, h.stop())
			}
			eventually(t, "no connection", func() bool { return f.clients() == 0 })
			eventually(t, "no goroutine", func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// A watch on which nothing happens is none that fails, however short a request may take.
func TestAQuietWatchGoesOn(t *testing.T) {
	f := newFake(t)
	more := sliceNamed("nats-b", "10.1.0.2")
	f.answer(nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			return
		}
		io.WriteString(w, event(t, "ADDED", more)+"\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	h := follow(t, kubernetes.Service("nats", f.with(kubernetes.Discovery(discovery.Timeout(200*time.Millisecond)))...))
	h.hosts("10.1.0.1:4222", "10.1.0.2:4222")
	require.Equal(t, 1, f.count("watch"))
	require.Empty(t, h.failures())
}

// A server that has frozen during a watch, so that nothing comes any more, not even an answer to a ping, is left.
func TestAWatchOfNobody(t *testing.T) {
	f := newFake(t)
	through := newPipe(t, f.server.Listener.Addr().String())
	h := follow(t, kubernetes.Service("nats", f.with(kubernetes.Master(through.address()), kubernetes.Discovery(discovery.Timeout(200*time.Millisecond)))...))
	h.hosts("10.1.0.1:4222")
	eventually(t, "a watch", func() bool { return f.count("watch") == 1 })
	through.freeze(true)
	h.failure(discovery.ReasonTimeout)
	f.answer(lists(t, "10.1.0.2"), nil)
	require.Equal(t, []string{"10.1.0.1:4222"}, h.now())
	through.freeze(false)
	h.hosts("10.1.0.2:4222")
}

// That it works again is said when it does, not when one more list comes while the same is wrong.
func TestWhatIsWrongIsNotSaidToWorkAgain(t *testing.T) {
	one := sliceOf("10.1.0.1")
	refused := says(403, status(403, "Forbidden", `User "jane" cannot watch`))
	for name, c := range map[string]struct {
		list, watch, well, follows http.HandlerFunc // well, follows: what lists and watches get in the end
		told                       string
	}{
		"an endpoint": {has(t, one, sliceNamed("nats-b", "nowhere")), events(true), lists(t, "10.1.0.1"), nil, "nowhere"},
		"the right":   {lists(t, "10.1.0.1"), refused, nil, events(false, event(t, "MODIFIED", one)), "cannot watch"},
	} {
		t.Run(name, func(t *testing.T) {
			f, log := newFake(t), &logged{}
			more := func() {
				t.Helper()
				before := f.count("list")
				eventually(t, "more lists", func() bool { return f.count("list") > before+5 })
			}
			f.answer(c.list, c.watch)
			h := follow(t, kubernetes.Service("nats", f.with(log.option())...))
			eventually(t, "a warning", func() bool { return log.count(c.told) == 1 })
			more()
			require.Len(t, h.failures(), 1)
			require.Zero(t, log.count("works again"))
			f.answer(c.well, c.follows)
			eventually(t, "that it works again", func() bool { return log.count("works again") == 1 })

			f.answer(c.list, c.watch)
			f.server.CloseClientConnections()
			eventually(t, "the same again", func() bool { return len(h.failures()) == 2 }, func() string { return fmt.Sprint(h.last()) })
			f.answer(says(500, "oops"), nil)
			h.failure(discovery.ReasonUnavailable)
			h.forget()
			f.answer(c.list, nil)
			eventually(t, "what is still wrong after another failure", func() bool { return contains(h.failures(), c.told) })
			more()
			require.Equal(t, 2, log.count("works again")) // of lists
		})
	}
}
