package call

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// vector is a line of docs/vectors/calls.jsonl: what its first field says.
type vector struct {
	Case, Level string

	Address json.RawMessage
	Timeout *float64
	Request *vectorMessage
	Reply   *string
	Refusal *struct {
		Say, Text string
		Code      *string
	}
	Answer *vectorMessage

	Subject  string
	Headers  map[string]string
	Body     string
	Answered bool
	Alive    *string
	Is       *struct {
		Timeout       int64
		Input, Output json.RawMessage
		Refuse        string
		Cancel        string
		Error, Ran    string
		Code, Text    *string
	}
}

type vectorMessage struct {
	Headers map[string]string
	Body    string
}

func (m *vectorMessage) msg() *nats.Msg {
	msg := &nats.Msg{Header: nats.Header{}, Data: []byte(m.Body)}
	for name, value := range m.Headers {
		msg.Header.Set(name, value)
	}
	return msg
}

func TestVectorsCalls(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "vectors", "calls.jsonl"))
	require.NoError(t, err)
	b := rolebustest.NewServer(t).Bus(rolebus.WithNode("n"))
	callee := newVectorCallee(t, b)
	for line := range bytes.Lines(raw) {
		var v vector
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&v), string(line))
		t.Run(v.Case, func(t *testing.T) {
			switch {
			case v.Address != nil:
				// of the root package
			case v.Timeout != nil:
				msg := &nats.Msg{}
				if text := formatTimeout(time.Duration(*v.Timeout * float64(time.Millisecond))); text != "" {
					msg.Header = nats.Header{headerTimeout: {text}}
				}
				require.Equal(t, v.Headers, headersOf(msg))
			case v.Request != nil:
				callee.check(t, v)
			case v.Reply != nil:
				require.Equal(t, v.Answered, b.Answerable(*v.Reply))
				if inbox, known := inboxOf(*v.Reply); v.Alive != nil {
					require.True(t, known)
					require.Equal(t, *v.Alive, inbox+aliveToken)
				} else {
					require.False(t, known && v.Answered, "nobody is asked")
				}
			case v.Refusal != nil:
				code := v.Refusal.Say
				if v.Refusal.Code != nil {
					code = codeOf(Error(*v.Refusal.Code, v.Refusal.Text))
				}
				msg := refusal(v.Refusal.Say, code, v.Refusal.Text)
				require.Equal(t, v.Headers, headersOf(&msg))
				require.Equal(t, v.Body, string(msg.Data))
			case v.Answer != nil:
				v.checkAnswer(t)
			default:
				require.Fail(t, "a vector of nothing")
			}
		})
	}
}

func headersOf(msg *nats.Msg) map[string]string {
	all := map[string]string{}
	for name := range msg.Header {
		all[name] = msg.Header.Get(name)
	}
	return all
}

func (v *vector) checkAnswer(t *testing.T) {
	msg, is := v.Answer.msg(), v.Is
	ran, err := readAnswer(msg, "m", typeJSON, "n", 7)
	var output json.RawMessage
	if err == nil {
		if wrong := JSON.Decode(msg.Data, &output); wrong != nil {
			err = errors.Join(ErrDecode, wrong)
		}
	}
	require.Equal(t, is.Ran, ran.String())
	if is.Error == "" {
		require.NoError(t, err)
		require.JSONEq(t, string(is.Output), string(output))
		return
	}
	if is.Error == sayFailed {
		var remote *RemoteError
		require.ErrorAs(t, err, &remote)
		require.Equal(t, []string{*is.Code, *is.Text}, []string{remote.Code, remote.Message})
		return
	}
	require.ErrorIs(t, err, verdicts[is.Error].err)
	if is.Text != nil {
		require.ErrorContains(t, err, *is.Text)
	}
}

// vectorCallee is a method that is sent requests.
type vectorCallee struct {
	nc      *nats.Conn
	subject string
	inbox   string
	answers chan *nats.Msg
	inputs  chan json.RawMessage
	given   chan context.Context
}

func newVectorCallee(t *testing.T, b *rolebus.Bus) *vectorCallee {
	c := &vectorCallee{
		nc: b.Conn(), subject: b.Address(kindOfSubject, b.Snapshot().Node(b.Name()), "m"), inbox: nats.NewInbox(),
		answers: make(chan *nats.Msg, 1), inputs: make(chan json.RawMessage, 1), given: make(chan context.Context, 1),
	}
	_, err := Handle(b.Scope, "m", func(ctx context.Context, in json.RawMessage) (any, error) {
		c.inputs <- slices.Clone(in)
		c.given <- ctx
		if string(in) == `"wait"` {
			<-ctx.Done()
		}
		return nil, nil
	})
	require.NoError(t, err)
	_, err = c.nc.ChanSubscribe(c.inbox, c.answers)
	require.NoError(t, err)
	return c
}

func next[T any](t *testing.T, from chan T) (what T) {
	t.Helper()
	select {
	case what = <-from:
	case <-time.After(20 * time.Second):
		require.Fail(t, "it does not come")
	}
	return what
}

// check sends a request, which it runs, refuses, or leaves alone.
func (c *vectorCallee) check(t *testing.T, v vector) {
	msg := v.Request.msg()
	msg.Subject, msg.Reply = c.subject, c.inbox
	switch is := v.Is; {
	case is == nil:
		require.NoError(t, c.nc.PublishMsg(msg))
		require.NoError(t, c.nc.PublishRequest(c.subject, c.inbox, []byte(`"next"`)))
		require.JSONEq(t, `"next"`, string(next(t, c.inputs)))
		next(t, c.given)
		next(t, c.answers)
	case is.Cancel != "":
		require.NoError(t, c.nc.PublishRequest(c.subject, is.Cancel, []byte(`"wait"`)))
		next(t, c.inputs)
		ctx := next(t, c.given)
		require.NoError(t, ctx.Err())
		require.NoError(t, c.nc.PublishMsg(msg))
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.Canceled)
	case is.Refuse != "":
		require.NoError(t, c.nc.PublishMsg(msg))
		require.Equal(t, is.Refuse, next(t, c.answers).Header.Get(headerCall))
		require.Empty(t, c.inputs, "it does not run")
	default:
		require.NoError(t, c.nc.PublishMsg(msg))
		require.Empty(t, headersOf(next(t, c.answers)))
		require.JSONEq(t, string(is.Input), string(next(t, c.inputs)))
		next(t, c.given)
		timeout, err := parseTimeout(v.Request.Headers[headerTimeout])
		require.NoError(t, err)
		require.Equal(t, time.Duration(is.Timeout)*time.Millisecond, timeout)
	}
}
