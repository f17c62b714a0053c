package calls_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// heard is how a call ended, as its caller heard it.
type heard struct {
	id         uint64
	retry      int
	idempotent bool
	sure       bool // it must be answered
	hedged     bool
	chosen     life // for the last attempt; if the caller chose
	answer     done
	err        error
	took       time.Duration
}

// judge says what is wrong with a call, of which is known to whom it was sent, and where it ran.
func judge(h heard, sent, ran []life) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if len(sent) > h.retry+1 {
		complain("it was sent %d times, with %d retries", len(sent), h.retry)
	}
	for _, at := range ran {
		if !slices.Contains(sent, at) {
			complain("it ran at %v, to which it was not sent: %v", at, sent)
		}
	}
	if !h.idempotent && len(ran) > 1 {
		complain("it ran %d times: %v", len(ran), ran)
	}
	if h.err == nil {
		by := life{h.answer.Node, h.answer.Life}
		switch {
		case h.answer.ID != h.id:
			complain("the answer is that to %d", h.answer.ID)
		case !slices.Contains(ran, by):
			complain("it was answered by %v, where it did not run", by)
		case h.chosen != life{} && h.chosen != by:
			complain("it was answered by %v, and %v was asked", by, h.chosen)
		case !h.hedged && sent[len(sent)-1] != by:
			complain("it was answered by %v, and %v was asked last", by, sent[len(sent)-1])
		}
		return wrong
	}
	if h.sure {
		complain("it was not answered: %v", h.err)
	}
	if !slices.ContainsFunc(known, func(err error) bool { return errors.Is(h.err, err) }) {
		complain("its error is none of those to act on: %v", h.err)
	}
	var failed *call.CallError
	if !errors.As(h.err, &failed) {
		complain("its error has no attempts: %v", h.err)
		return wrong
	}
	if len(failed.Attempts) > h.retry+1 {
		complain("%d attempts are told, with %d retries", len(failed.Attempts), h.retry)
	}
	if !failed.MayHaveRun() && len(ran) > 0 {
		complain("it is said that it did not run, and it ran at %v", ran)
	}
	var told []life
	for i, a := range failed.Attempts {
		at := life{a.Node.Name(), a.Node.Incarnation()}
		told = append(told, at)
		if a.Err == nil {
			complain("attempt %d of a call that failed has no error", i+1)
		}
		if a.Ran == call.RanNo && slices.Contains(ran, at) {
			complain("it is said that it did not run at %v, and it did: %v", at, a.Err)
		}
		if a.Ran == call.RanYes && !slices.Contains(ran, at) {
			complain("it is said that it ran at %v, and it did not: %v", at, a.Err)
		}
		if !h.idempotent && a.Ran != call.RanNo && i < len(failed.Attempts)-1 {
			complain("it was tried again though it may have run at %v: %v", at, a.Err)
		}
	}
	for _, at := range sent {
		if !slices.Contains(told, at) {
			complain("it was sent to %v, which is not told: %v", at, told)
		}
	}
	return wrong
}

// known are the errors that a caller may get, in whatever way nodes come and go that all handle the method.
var known = []error{call.ErrNoNode, call.ErrUnreachable, call.ErrTimeout, call.ErrBusy, call.ErrDraining}

// TestTheJudgeFindsWhatIsWrong tells of calls that went well, and of each thing that can be wrong.
func TestTheJudgeFindsWhatIsWrong(t *testing.T) {
	a, b := life{"a", 1}, life{"b", 1}
	at := func(name string, ran call.Ran, err error) call.Attempt {
		return call.Attempt{Node: rolebustest.Node(name, nil, "worker"), Ran: ran, Err: err}
	}
	failed := func(attempts ...call.Attempt) error {
		e := &call.CallError{Role: rolebus.Role("worker"), Method: "work", Attempts: attempts, Err: call.ErrUnreachable}
		if len(attempts) > 0 {
			e.Err = attempts[len(attempts)-1].Err
		}
		return e
	}
	by := func(l life) done { return done{1, l.node, l.incarnation} }
	no, maybe, yes := call.RanNo, call.RanMaybe, call.RanYes
	tests := []struct {
		name      string
		heard     heard
		sent, ran []life
		wrong     string
	}{
		{"answered", heard{answer: by(a)}, []life{a}, []life{a}, ""},
		{"answered by the second", heard{retry: 1, answer: by(b)}, []life{a, b}, []life{b}, ""},
		{"run twice, idempotent", heard{retry: 1, idempotent: true, answer: by(b)}, []life{a, b}, []life{a, b}, ""},
		{"answered by the first of two", heard{retry: 1, idempotent: true, hedged: true, answer: by(a)}, []life{a, b}, []life{a}, ""},
		{"failed", heard{retry: 1, err: failed(at("a", no, call.ErrBusy), at("b", maybe, call.ErrTimeout))}, []life{a, b}, []life{b}, ""},
		{"nobody there", heard{err: &call.CallError{Err: call.ErrNoNode}}, nil, nil, ""},

		{"run twice", heard{retry: 1, answer: by(b)}, []life{a, b}, []life{a, b}, "it ran 2 times"},
		{"run twice at one", heard{retry: 1, answer: by(a)}, []life{a, a}, []life{a, a}, "it ran 2 times"},
		{"sent too often", heard{answer: by(b)}, []life{a, b}, []life{b}, "it was sent 2 times"},
		{"answered by another life", heard{answer: done{1, "a", 2}}, []life{a}, []life{{"a", 2}}, "to which it was not sent"},
		{"answered by one who did not run it", heard{answer: by(a)}, []life{a}, nil, "where it did not run"},
		{"answered by one who was not chosen", heard{retry: 1, chosen: b, answer: by(a)}, []life{b, a}, []life{a}, "{b 1} was asked"},
		{"answered by the one before", heard{retry: 1, answer: by(a)}, []life{a, b}, []life{a}, "{b 1} was asked last"},
		{"another's answer", heard{answer: done{2, "a", 1}}, []life{a}, []life{a}, "that to 2"},
		{"not answered", heard{sure: true, err: failed(at("a", maybe, call.ErrTimeout))}, []life{a}, nil, "not answered"},
		{"an unknown error", heard{err: failed(at("a", maybe, errors.New("oops")))}, []life{a}, nil, "none of those to act on"},
		{"a bare error", heard{err: call.ErrTimeout}, []life{a}, nil, "has no attempts"},
		{"too many attempts", heard{err: failed(at("a", no, call.ErrBusy), at("b", no, call.ErrBusy))}, []life{a}, nil, "2 attempts are told"},
		{"an attempt not told", heard{retry: 1, err: failed(at("a", no, call.ErrBusy))}, []life{b, a}, nil, "which is not told"},
		{"said not to have run", heard{err: failed(at("a", no, call.ErrDraining))}, []life{a}, []life{a}, "it is said that it did not run"},
		{"said to have run", heard{err: failed(at("a", yes, call.ErrTooLarge), at("b", no, call.ErrBusy)), retry: 1}, []life{a, b}, nil, "it is said that it ran"},
		{"tried again though it may have run", heard{retry: 1, err: failed(at("a", maybe, call.ErrUnreachable), at("b", no, call.ErrBusy))},
			[]life{a, b}, nil, "tried again"},
		{"an attempt without an error", heard{retry: 1, err: failed(at("a", no, nil), at("b", no, call.ErrBusy))}, []life{a, b}, nil, "has no error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.heard.id = 1
			wrong := fmt.Sprint(judge(test.heard, test.sent, test.ran))
			if test.wrong == "" {
				require.Equal(t, "[]", wrong)
			}
			require.Contains(t, wrong, test.wrong)
		})
	}
}
