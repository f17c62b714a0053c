package calls_test

import (
	"bytes"
	"encoding/json"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/rolebustest"
)

// job is what the methods of these tests are given, and done is what they answer: who did it, in which life.
type job struct{ ID uint64 }

type done struct {
	ID   uint64
	Node string
	Life uint64
}

// life is one life of a node.
type life struct {
	node        string
	incarnation uint64
}

// wire reads what clients send to the server, and so knows every attempt, whatever became of it: nobody can subscribe to the subjects
// for that, as then somebody would be listening there.
type wire struct {
	mu       sync.Mutex
	attempts map[uint64][]life // of a job
}

func newWire() *wire { return &wire{attempts: map[uint64][]life{}} }

// of returns to whom a job was sent, in order.
func (w *wire) of(id uint64) []life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attempts[id]
}

// Dial makes a connection that is read, too: it is a nats.CustomDialer.
func (w *wire) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &readConn{Conn: conn, wire: w}, nil
}

type readConn struct {
	net.Conn
	wire *wire
	mu   sync.Mutex
	rest []byte // the beginning of what is not complete yet
}

// Write reads before it sends: who has an answer finds the question.
func (c *readConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.rest = c.wire.read(append(c.rest, b...))
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// read takes note of what is complete, and returns the rest. Of the protocol it understands what takes more than a line.
func (w *wire) read(b []byte) (rest []byte) {
	for {
		line, after, complete := bytes.Cut(b, []byte("\r\n"))
		if !complete {
			return b
		}
		words := strings.Fields(string(line))
		if len(words) < 3 || words[0] != "PUB" && words[0] != "HPUB" {
			b = after
			continue
		}
		size, err := strconv.Atoi(words[len(words)-1])
		if err != nil || len(after) < size+len("\r\n") {
			return b
		}
		header := 0
		if words[0] == "HPUB" {
			header, _ = strconv.Atoi(words[len(words)-2])
		}
		w.sent(words[1], string(after[:header]), after[header:size])
		b = after[size+len("\r\n"):]
	}
}

// sent takes note of a message, if it is a request with a job.
func (w *wire) sent(subject, header string, body []byte) {
	tokens := strings.Split(subject, ".") // <bucket>.call.<scope>.<node>.<incarnation>.<method>
	if len(tokens) != 6 || tokens[1] != "call" || strings.Contains(header, "Rolebus-Call:") {
		return
	}
	incarnation, err := strconv.ParseUint(tokens[4], 10, 64)
	var j job
	if err != nil || json.Unmarshal(body, &j) != nil || j.ID == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts[j.ID] = append(w.attempts[j.ID], life{tokens[3], incarnation})
}

// TestTheWireIsRead reads what a plain client sends.
func TestTheWireIsRead(t *testing.T) {
	srv := rolebustest.NewServer(t)
	w := newWire()
	nc := srv.Conn(nats.SetCustomDialer(w))
	publish := func(subject string, header nats.Header, body string) {
		require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: subject, Header: header, Data: []byte(body), Reply: "answer"}))
	}
	publish("rolebus.call.default.a.7.work", nil, `{"ID":1}`)
	publish("rolebus.call.default.b.8.work", nats.Header{"Rolebus-Timeout": {"7"}}, `{"ID":1}`)
	publish("rolebus.call.default.b.8.work", nats.Header{"Rolebus-Call": {"cancel"}}, `{"ID":1}`)
	publish("rolebus.probe.default.b", nil, `{"ID":1}`)
	publish("rolebus.call.default.a.7.work", nil, `{"ID":2,"Text":"PUB rolebus.call.default.a.7.work 8\r\n{}"}`)
	require.NoError(t, nc.Flush())
	require.Equal(t, []life{{"a", 7}, {"b", 8}}, w.of(1))
	require.Equal(t, []life{{"a", 7}}, w.of(2))
	require.Empty(t, w.of(3))
}
