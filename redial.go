package rolebus

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	firstRedial  = 10 * time.Millisecond  // at most: a thousand clients of a server that came back do not come in one instant
	redialWait   = 500 * time.Millisecond // at most, while no server answers
	refusedWait  = 4 * time.Second        // at most, while one answers and refuses
	settledAfter = time.Second            // a connection that held so long was one
	mostReasons  = 32                     // are told while it is away

	notChosen time.Duration = -1
)

// redial says how long a connection of our own waits before it tries all servers once more. One that merely broke is made
// again at once. While nobody answers it is tried a few times a second, so that a server that was restarted finds its clients
// soon. To be refused costs a server work, with TLS a lot, and seldom passes within seconds: that waits longer each time.
type redial struct {
	subjects refusedSubjects // by a server, on any connection of this bus

	log  *slog.Logger
	node string

	mu       sync.Mutex
	nc       *nats.Conn           // nil until it is made
	tries    int                  // since the connection was lost
	refusals int                  // of these
	refused  bool                 // told of since the last try
	last     time.Time            // when the last try began
	errors   map[string]time.Time // of nats.go, when they were told last
	told     map[string]bool      // reasons, since the connection was lost
}

// options go before the user's, and option after them: a delay that the user chose has the last word.
func (r *redial) options() []nats.Option {
	return []nats.Option{nats.ReconnectWait(notChosen), nats.ReconnectJitter(notChosen, notChosen)}
}

func (r *redial) option(o *nats.Options) error {
	chosen := o.CustomReconnectDelayCB != nil
	defaults := nats.GetDefaultOptions()
	for _, d := range []struct{ of, otherwise *time.Duration }{
		{&o.ReconnectWait, &defaults.ReconnectWait},
		{&o.ReconnectJitter, &defaults.ReconnectJitter},
		{&o.ReconnectJitterTLS, &defaults.ReconnectJitterTLS},
	} {
		if *d.of == notChosen {
			*d.of = *d.otherwise
		} else {
			chosen = true
		}
	}
	if !chosen {
		o.CustomReconnectDelayCB = r.delay
	}
	tried := o.ReconnectErrCB
	o.ReconnectErrCB = func(nc *nats.Conn, err error) {
		r.mu.Lock()
		r.tell(err)
		r.mu.Unlock()
		if tried != nil {
			tried(nc, err)
		}
	}
	told := o.AsyncErrorCB
	o.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
		r.subjects.note(err)
		r.hear(err)
		if told != nil {
			told(nc, sub, err)
		}
	}
	return nil
}

// hear notes a refusal of which nats.go tells: of several servers it leaves only the last one's answer where delay finds it.
func (r *redial) hear(err error) {
	if badCredentials(err) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refused = true
		r.tell(err)
	}
}

// tell says why a connection cannot be made again, each reason once while it is away. The caller holds mu.
func (r *redial) tell(err error) {
	reason := strings.ToLower(err.Error()) // nats.go has two spellings
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Addr != nil {
		reason = op.Op + op.Addr.String() + op.Err.Error() // without the local port, which is another one each time
	}
	if r.told[reason] || len(r.told) >= mostReasons || r.log == nil {
		return
	}
	if r.told == nil {
		r.told = map[string]bool{}
	}
	r.told[reason] = true
	r.log.Warn("the connection cannot be made again now, trying on", "node", r.node, "error", inFull(err))
}

// made says which connection it is.
func (r *redial) made(nc *nats.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nc = nc
}

// delay is called by nats.go when all servers were tried, of one server also before the first try; it counts the calls since the
// connection was lost.
func (r *redial) delay(n int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.nc != nil {
		err = r.nc.LastError() // of the last try; none if there was no answer at all
	}
	wait := r.next(time.Now(), n, err)
	if err != nil {
		r.tell(err)
	}
	return wait/2 + rand.N(wait/2)
}

// pause is how long to wait before a connection is made in the place of one that a server ended.
func (r *redial) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next(time.Now(), 1, nil)
}

// next returns the most that the n-th try since the connection was lost waits.
func (r *redial) next(now time.Time, n int, err error) time.Duration {
	// A connection that a server takes and ends at once, again and again, was not one.
	if n == 1 && now.Sub(r.last) > settledAfter {
		r.tries, r.refusals, r.refused, r.told = 0, 0, false, nil
	}
	if r.refused || refusal(err) {
		r.refusals++
	}
	r.refused = false
	wait := min(firstRedial<<min(r.tries, 16), redialWait)
	if r.refusals > 0 {
		wait = max(wait, min(redialWait<<min(r.refusals-1, 16), refusedWait))
	}
	r.tries++
	r.last = now.Add(wait)
	return wait
}

// refusal says whether a try was answered by a server, or by what stands in its place, that wants no connection with us. What
// nobody answers, or breaks off, is a server that stops or starts, or a proxy before it.
func refusal(err error) bool {
	var network net.Error
	switch {
	case err == nil:
		return false
	case errors.Is(err, nats.ErrTLS), closedAtOnce(err):
		return true // also a handshake that takes too long: the server has too much to do
	}
	return !errors.Is(err, io.EOF) && !errors.Is(err, nats.ErrTimeout) && !errors.As(err, &network)
}

// news says whether an error was not told for a minute: a server says the same to each of many attempts.
func (r *redial) news(subject string, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	what, now := subject+" "+err.Error(), time.Now()
	if at, known := r.errors[what]; known && now.Sub(at) < noiseInterval {
		return false
	}
	if len(r.errors) >= noiseSenders || r.errors == nil {
		r.errors = map[string]time.Time{}
	}
	r.errors[what] = now
	return true
}
