package exclusive

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/stretchr/testify/require"
)

// vector is a line of docs/vectors/claims.jsonl.
type vector struct {
	Case    string
	Value   *string
	Ignored string
	Is      json.RawMessage

	Steps []struct {
		At         int64
		Generation uint64
		Value      string
		Removed    bool
		Lives      bool
		Leader     *uint64
	}
	Judge *struct {
		At, Longest, Settled int64
		Own                  bool
		Buried               uint64
	}
	Server int64
	Token  *uint64
}

func TestVectorsOfClaims(t *testing.T) {
	t.Parallel()
	file, err := os.Open(filepath.Join("..", "docs", "vectors", "claims.jsonl"))
	require.NoError(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	forms, rules := 0, 0
	for lines.Scan() {
		var v vector
		require.NoError(t, json.Unmarshal(lines.Bytes(), &v))
		t.Run(v.Case, func(t *testing.T) {
			if v.Value != nil {
				forms++
				v.form(t)
				return
			}
			rules++
			v.rule(t)
		})
	}
	require.NoError(t, lines.Err())
	require.Greater(t, forms, 10)
	require.Greater(t, rules, 20)
}

func (v *vector) form(t *testing.T) {
	c, err := decodeClaim(*v.Value)
	if v.Ignored != "" {
		require.Error(t, err, v.Ignored)
		return
	}
	require.NoError(t, err)
	require.JSONEq(t, string(v.Is), c.encode())
}

func (v *vector) rule(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(1_000_000 + ms) }
	var k standing
	for _, step := range v.Steps {
		if step.Leader != nil {
			k.confirm(*step.Leader, at(step.At))
			continue
		}
		k.hear(rolebus.Entry{Generation: step.Generation, Value: step.Value, Removed: step.Removed}, at(step.At))
		k.adopt(false, at(step.At))
		k.look(step.Lives, at(step.At))
	}
	if v.Judge != nil {
		k.adopt(v.Judge.Own, at(v.Judge.At))
	}
	if v.Token != nil {
		require.Equal(t, *v.Token, k.next(time.UnixMilli(v.Server)))
		return
	}
	var want struct {
		May, Leader, Answer bool
		Again               *int64
	}
	require.NoError(t, json.Unmarshal(v.Is, &want))
	got := k.judge(view{
		now: at(v.Judge.At), own: v.Judge.Own, buried: v.Judge.Buried,
		ttl: time.Duration(v.Judge.Longest) * time.Millisecond, settled: time.Duration(v.Judge.Settled) * time.Millisecond,
	})
	require.Equal(t, want.May, got.may, got.why)
	require.Equal(t, want.Leader, got.confirm)
	require.Equal(t, want.Answer, got.answer)
	require.Equal(t, want.Again == nil, got.again.IsZero())
	if want.Again != nil {
		require.Equal(t, *want.Again, got.again.Sub(at(0)).Milliseconds())
	}
}

func FuzzClaim(f *testing.F) {
	f.Add(`{"node":"api-1","incarnation":1,"token":2,"ttl":1000,"since":3}`)
	f.Add(`{"node":"a","incarnation":9007199254740991,"token":9007199254740991,"ttl":86400000,"since":9007199254740991}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, value string) {
		c, err := decodeClaim(value)
		if err != nil {
			return
		}
		again, err := decodeClaim(c.encode())
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
