//go:build linux

package chaos_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const jobNumber = 7

// asks has bob call alice: he says so when the call ends.
func (t *tale) asks(seconds float64, change func(r *record)) {
	r := record{Kind: called, Op: onceMethod, Scope: "s", Node: "alice", Life: 100, Job: jobNumber, Outcome: ok, Began: at(seconds),
		Within: time.Second, Answer: done{jobNumber, aliceNumber, "s"}}
	if change != nil {
		change(&r)
	}
	t.add(seconds+0.5, bobNumber, r)
}

// runs has alice do the job.
func (t *tale) runs(seconds float64, number int, method, scope string) {
	t.add(seconds, number, record{Kind: ran, Op: method, Scope: scope, Job: jobNumber})
}

func TestChecksOfCallsFindWhatIsBroken(t *testing.T) {
	fails := func(text, claim string) func(r *record) {
		return func(r *record) { r.Outcome, r.Text, r.Reason, r.Answer = refused, text, claim, done{} }
	}
	tests := []struct {
		name   string
		breaks []int
		tell   func(t *tale)
	}{
		{"a call is answered", nil, func(t *tale) {
			t.runs(20.2, aliceNumber, onceMethod, "s")
			t.asks(20, nil)
		}},
		{"a call is answered whose run nobody lived to tell", nil, func(t *tale) { t.asks(20, nil) }},
		{"a call fails", nil, func(t *tale) {
			t.runs(20.2, aliceNumber, onceMethod, "s")
			t.asks(20, fails("unreachable", ""))
		}},
		{"a call runs twice", []int{15}, func(t *tale) {
			t.runs(20.1, aliceNumber, onceMethod, "s")
			t.runs(20.2, aliceNumber, onceMethod, "s")
			t.asks(20, nil)
		}},
		{"a call runs twice, and its caller has died", []int{15}, func(t *tale) {
			t.runs(20.1, aliceNumber, onceMethod, "s")
			t.runs(30, newAlice, onceMethod, "s")
		}},
		{"an idempotent call runs twice", nil, func(t *tale) {
			t.runs(20.1, aliceNumber, oftenMethod, "s")
			t.runs(20.2, aliceNumber, oftenMethod, "s")
			t.asks(20, func(r *record) { r.Op = oftenMethod })
		}},
		{"a call runs as another method", []int{7}, func(t *tale) {
			t.runs(20.1, aliceNumber, oftenMethod, "s")
			t.asks(20, nil)
		}},
		{"a call runs in another scope", []int{7}, func(t *tale) {
			t.runs(20.1, aliceNumber, onceMethod, "other")
			t.asks(20, nil)
		}},
		{"a call is answered from another scope", []int{7}, func(t *tale) { t.asks(20, func(r *record) { r.Answer.Scope = "other" }) }},
		{"a call is answered by another life", []int{15}, func(t *tale) { t.asks(20, func(r *record) { r.Answer.Proc = newAlice }) }},
		{"a call is answered by a life that nobody saw", nil, func(t *tale) {
			t.asks(20, func(r *record) { r.Answer.Proc, r.Life = newAlice, 200 })
		}},
		{"a call hears another's answer", []int{15}, func(t *tale) { t.asks(20, func(r *record) { r.Answer.ID++ }) }},
		{"a call ends late", []int{15}, func(t *tale) {
			t.asks(20, func(r *record) { r.Began = at(18.9) })
		}},
		{"a call ends late, as its process was frozen", nil, func(t *tale) {
			t.add(20, bobNumber, record{Kind: stalled, Began: at(18)})
			t.asks(20, func(r *record) { r.Began = at(18) })
		}},
		{"a call is said not to have run, and did", []int{15}, func(t *tale) {
			t.runs(20.1, aliceNumber, onceMethod, "s")
			t.asks(20, fails("draining", notRun))
		}},
		{"a call is said not to have run, and did not", nil, func(t *tale) { t.asks(20, fails("draining", notRun)) }},
		{"a call fails, and nobody knows why", []int{15}, func(t *tale) {
			t.asks(20, func(r *record) { r.Outcome, r.Text, r.Answer = unnamed, "oops", done{} })
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tale := newTale()
			test.tell(tale)
			if test.breaks == nil {
				test.breaks = []int{}
			}
			require.Equal(t, test.breaks, tale.broken())
		})
	}
}
