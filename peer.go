package rolebus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// peers is how processes reach each other past the bucket, by messages that nobody stores. link is the one on NATS;
// tests have another. What starts to listen returns the function that goes on with it until its context is over.
type peers interface {
	// answer answers those who ask whether a node is there with what it says of itself.
	answer(scope, node string, says func() answer) (run func(context.Context), err error)
	// attest answers those who ask whether anybody's connection to this process's server works.
	attest() (run func(context.Context), err error)
	// hints hears whom others suspect.
	hints(scope string, hear func(hint)) (run func(context.Context), err error)
	// deaths hears from the servers which node's connection was closed by its own side, if they tell.
	deaths(hear func(hint)) (run func(context.Context), err error)

	// server returns the id of the server that this process is connected to; "" if to none.
	server() string
	// probe asks a node whether it is there. The error matches errAbsent if nobody listens for that node, and errSilent
	// if no answer came before ctx was over.
	probe(ctx context.Context, scope, node string) (answer, error)
	// witness asks whether anybody is connected to a server and answers from there; the server itself, if it is that of this process.
	witness(ctx context.Context, server string) error
	// hint tells the others whom this process cannot reach, or that it is there itself.
	hint(scope string, h hint) error
}

var (
	errAbsent = errors.New("nobody listens for the node")
	errSilent = errors.New("the node does not answer")
)

// hint says that somebody could not reach a node. It is never believed, only checked.
type hint struct {
	node        string
	incarnation uint64 // 0 if not known
	server      string // the id of the server that the node was connected to
	closed      bool   // that server itself says that the node's side closed the connection
	back        bool   // the node itself says that it is there
}

// answer is what a node that was asked says.
type answer struct {
	server      string // the id of the server that it is connected to
	incarnation uint64 // in the scope; 0 if it has none yet
	passive     bool   // it answers, and asks nobody
	suspects    []hint
}

// maxSuspects is how many suspects one answer names.
const maxSuspects = 16

// wireProbe is the body of a probe.
type wireProbe struct {
	Format uint64 `json:"format"`
	Fleet  string `json:"fleet"`
}

// wireAnswer is the body of the answer to a probe, and to the question for a witness.
type wireAnswer struct {
	Format      uint64     `json:"format"`
	Server      string     `json:"server"`
	Incarnation uint64     `json:"incarnation,omitempty"`
	Passive     bool       `json:"passive,omitempty"`
	Suspects    []wireHint `json:"suspects,omitempty"`
}

// wireHint is the body of a hint, whose subject names scope and node, and a part of an answer, where it names the node.
type wireHint struct {
	Format      uint64 `json:"format,omitempty"`
	Node        string `json:"node,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	Server      string `json:"server"`
	Back        bool   `json:"back,omitempty"`
}

// wireDisconnect is what this package reads of a server's own message about a connection that was closed.
type wireDisconnect struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Client struct {
		Name string `json:"name"`
	} `json:"client"`
	Reason string `json:"reason"`
}

// connectionName names a node's connection, so that the servers' messages about it can be understood.
func connectionName(node string) string { return connectionPrefix + node }

const connectionPrefix = "rolebus "

// peerBacklog is how many messages of one kind may wait. More are dropped: they are asked or hinted again. After a hint all
// others may ask one node at about the same time.
const peerBacklog = 1024

// link is peers on NATS.
type link struct {
	nc    *trunk
	subj  subjects
	fleet *identity
	noise *noise
	mine  sync.Map // the subjects by which this process is asked, each with what it says
}

// listen subscribes; run hands on what comes.
func (l *link) listen(subject, queue string, handle func(*nats.Msg) error) (run func(context.Context), err error) {
	messages := make(chan *nats.Msg, peerBacklog)
	sub, err := l.nc.stand(subject, queue, messages, false)
	if err != nil {
		return nil, fmt.Errorf("subscribe %q: %w", subject, err)
	}
	return func(ctx context.Context) {
		defer sub.stop(true)
		for {
			select {
			case <-ctx.Done():
				return
			case msg := <-messages:
				if err := handle(msg); err != nil {
					l.noise.ignore(msg.Subject, err)
				}
			}
		}
	}, nil
}

// respond answers with the server that this process is connected to, and what else there is to say. An answer goes to
// whoever asks, never to where it would mean something: into the bucket, say.
func (l *link) respond(msg *nats.Msg, a answer) error {
	if msg.Reply == "" || l.subj.means(msg.Reply) {
		return fmt.Errorf("asks for an answer to %q", clip(msg.Reply))
	}
	wire := wireAnswer{Format: wireFormat, Server: l.server(), Incarnation: a.incarnation, Passive: a.passive}
	for _, h := range a.suspects[:min(len(a.suspects), maxSuspects)] {
		wire.Suspects = append(wire.Suspects, wireHint{Node: h.node, Incarnation: h.incarnation, Server: h.server})
	}
	body, err := marshalJSON(wire)
	if err != nil {
		return err
	}
	_ = l.nc.Publish(msg.Reply, body) // whoever asks has lost patience if the connection is lost
	return nil
}

func (l *link) answer(scope, node string, says func() answer) (func(context.Context), error) {
	subject := l.subj.probe(scope, node)
	run, err := l.listen(subject, "", func(msg *nats.Msg) error {
		if l.foreign(msg.Data) {
			l.noise.skip()
			return nil // it means the node of this name in its own fleet
		}
		return l.respond(msg, says())
	})
	if err != nil {
		return nil, err
	}
	l.mine.Store(subject, &says)
	return func(ctx context.Context) {
		defer l.mine.CompareAndDelete(subject, &says)
		run(ctx)
	}, nil
}

// foreign says whether a probe comes from what is known to be another fleet. One that says nothing readable is answered: it
// is only asked whether somebody is there.
func (l *link) foreign(probe []byte) bool {
	var wire wireProbe
	return unmarshal(string(probe), &wire) == nil && l.fleet.stranger(wire.Fleet)
}

func (l *link) attest() (func(context.Context), error) {
	return l.listen(l.subj.witness(l.server()), "witness", func(msg *nats.Msg) error { return l.respond(msg, answer{}) })
}

func (l *link) hints(scope string, hear func(hint)) (func(context.Context), error) {
	return l.listen(l.subj.scopeSuspects(scope), "", func(msg *nats.Msg) error {
		h, err := decodeHint(l.subj, msg.Subject, msg.Data)
		if err == nil {
			hear(h)
		}
		return err
	})
}

func decodeHint(subj subjects, subject string, body []byte) (hint, error) {
	_, node, err := subj.parseSuspect(subject)
	if err != nil {
		return hint{}, err
	}
	var wire wireHint
	if err := unmarshal(string(body), &wire); err != nil {
		return hint{}, fmt.Errorf("body: %w", err)
	}
	if err := checkFormat(wire.Format); err != nil {
		return hint{}, err
	}
	wire.Node = node
	return wire.decode()
}

func (w wireHint) decode() (hint, error) {
	return hint{node: w.Node, incarnation: w.Incarnation, server: w.Server, back: w.Back}, errors.Join(
		checkName("node", w.Node), checkServer(w.Server))
}

// checkServer says what is wrong with the id of a server that came from elsewhere.
func checkServer(id string) error {
	if err := checkName("server id", id); err != nil {
		return err
	}
	if SubjectToken(id) != id {
		return fmt.Errorf("%w: server id %q", ErrBadName, clip(id))
	}
	return nil
}

func (l *link) deaths(hear func(hint)) (func(context.Context), error) {
	return l.listen(disconnects, "", func(msg *nats.Msg) error {
		h, err := decodeDisconnect(msg.Data)
		if err == nil && h.node != "" {
			hear(h)
		}
		return err
	})
}

// decodeDisconnect returns a hint if a node's side closed its connection; the zero hint if it was another kind of
// connection or another reason. What a server closes itself, because the client is slow, say, tells nothing about the
// process. A process that is killed is closed by its kernel: the server reads the end of the stream, or a reset
// if something lay there unread (nats-server 2.15.2: "Client Closed", "Read Error"). A server that stops says nothing.
func decodeDisconnect(body []byte) (hint, error) {
	wire, ok := scanDisconnect(string(body))
	if !ok {
		wire = wireDisconnect{}
		if err := json.Unmarshal(body, &wire); err != nil {
			return hint{}, fmt.Errorf("body: %w", err)
		}
	}
	node, ours := strings.CutPrefix(wire.Client.Name, connectionPrefix)
	if !ours || checkName("node", node) != nil {
		return hint{}, nil
	}
	switch wire.Reason {
	case "Client Closed", "Read Error", "Write Error":
		return hint{node: node, server: wire.Server.ID, closed: true}, checkServer(wire.Server.ID)
	}
	return hint{}, nil
}

func (l *link) server() string {
	if !l.nc.IsConnected() {
		return ""
	}
	return l.nc.ConnectedServerId()
}

func (l *link) probe(ctx context.Context, scope, node string) (answer, error) {
	subject := l.subj.probe(scope, node)
	if says, mine := l.mine.Load(subject); mine && l.nc.conn().Opts.NoEcho {
		// It would not hear itself. That the server answers must do.
		err := l.nc.FlushWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", errSilent, err)
		}
		a := (*says.(*func() answer))()
		a.server = l.server()
		return a, err
	}
	body, err := marshalJSON(wireProbe{Format: wireFormat, Fleet: l.fleet.current()})
	if err != nil {
		return answer{}, err
	}
	return l.ask(ctx, subject, body)
}

func (l *link) witness(ctx context.Context, server string) error {
	if err := checkServer(server); err != nil {
		return err
	}
	if server == l.server() {
		err := l.nc.FlushWithContext(ctx) // it is its own witness
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", errSilent, err)
		}
		return err
	}
	from, err := l.ask(ctx, l.subj.witness(server), nil)
	if err == nil && from.server != server {
		err = fmt.Errorf("the witness for server %s is at server %s now", server, clip(from.server))
	}
	return err
}

func (l *link) ask(ctx context.Context, subject string, body []byte) (answer, error) {
	began := time.Now()
	msg, err := l.nc.RequestWithContext(ctx, subject, body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return answer{}, fmt.Errorf("%w: %w", errAbsent, err)
	case errors.Is(err, context.DeadlineExceeded):
		if deadline, ok := ctx.Deadline(); ok && time.Since(deadline) > stalled {
			return answer{}, fmt.Errorf("waited %v: this process stood still", time.Since(began))
		}
		if refusal := refused(l.nc, subject); refusal != nil {
			return answer{}, refusal // which comes without an answer
		}
		return answer{}, fmt.Errorf("%w: %w", errSilent, err)
	case err != nil:
		return answer{}, err
	}
	a, err := decodeAnswer(msg.Data)
	if err != nil {
		l.noise.ignore(subject, fmt.Errorf("answer: %w", err))
	}
	return a, nil // whatever it says: somebody is there
}

// decodeAnswer reads what of an answer can be read.
func decodeAnswer(body []byte) (answer, error) {
	var wire wireAnswer
	err := unmarshal(string(body), &wire)
	if err == nil {
		err = errors.Join(checkFormat(wire.Format), checkServer(wire.Server))
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{server: wire.Server, incarnation: wire.Incarnation, passive: wire.Passive}
	for _, w := range wire.Suspects[:min(len(wire.Suspects), maxSuspects)] {
		h, bad := w.decode()
		if err = errors.Join(err, bad); bad == nil {
			a.suspects = append(a.suspects, h)
		}
	}
	return a, err
}

// stalled is how late a timer of this process may be before its own silence is the likelier cause of another's.
const stalled = 250 * time.Millisecond

func (l *link) hint(scope string, h hint) error {
	body, err := marshalJSON(wireHint{Format: wireFormat, Incarnation: h.incarnation, Server: h.server, Back: h.back})
	if err != nil {
		return err
	}
	return l.nc.Publish(l.subj.suspect(scope, h.node), body)
}
