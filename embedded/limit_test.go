package embedded

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limited is a log with a clock of its own.
type limited struct {
	limit
	now  time.Time
	told []string
}

func (l *limited) errorf(format string, args ...any) {
	l.tell(l.take(l.now, slog.LevelError, format, fmt.Sprintf(format, args...)))
}

func (l *limited) tell(lines []line) {
	for _, one := range lines {
		l.told = append(l.told, one.text)
	}
}

// since is what was told since the last call.
func (l *limited) since() []string {
	told := l.told
	l.told = nil
	return told
}

func TestLimitTellsAFewAndThenCounts(t *testing.T) {
	l := &limited{now: time.Unix(0, 0)}
	for i := range 100 {
		l.errorf("attempt %d", i)
		l.now = l.now.Add(100 * time.Millisecond)
	}
	require.Equal(t, []string{"attempt 0", "attempt 1", "attempt 2"}, l.since())
	l.errorf("another")
	require.Equal(t, []string{"another"}, l.since(), "other kinds are told")
	l.now = l.now.Add(49 * time.Second)
	l.errorf("attempt %d", 100)
	require.Empty(t, l.since(), "its minute is not over")
	l.now = l.now.Add(time.Second)
	l.errorf("attempt %d", 101)
	require.Equal(t, []string{"attempt 100 (97 more like this in the last minute)"}, l.since())
	for i := range 1000 {
		l.errorf("attempt %d", 102+i)
	}
	require.Empty(t, l.since(), "one a minute while it goes on")
	l.now = l.now.Add(time.Minute)
	l.errorf("another")
	require.Equal(t, []string{"attempt 1101 (1000 more like this within a minute, 1m0s ago)", "another"}, l.since(), "by any line")
	l.now = l.now.Add(time.Hour)
	for i := range 5 {
		l.errorf("attempt %d", i)
	}
	require.Equal(t, []string{"attempt 0", "attempt 1", "attempt 2"}, l.since(), "anew, as there was none for a minute")
	l.tell(l.rest(l.now.Add(time.Second)))
	require.Equal(t, []string{"attempt 4 (1 more like this in the last minute)"}, l.since())
	require.Empty(t, l.rest(l.now))
}

func TestLimitTellsOneThatWasHeldAsItIs(t *testing.T) {
	l := &limited{now: time.Unix(0, 0)}
	for i := range 4 {
		l.errorf("attempt %d", i)
	}
	l.since()
	l.tell(l.rest(l.now.Add(time.Second)))
	require.Equal(t, []string{"attempt 3"}, l.since())
}

// What is new of a kind is told beside what is known: what another server says, and another cause.
func TestLimitTellsWhatIsNew(t *testing.T) {
	l := &limited{now: time.Unix(0, 0)}
	const format = "dial tcp %s: %s"
	for range 10 {
		l.errorf(format, "10.0.0.1:6222", "connection refused")
	}
	require.Len(t, l.since(), firstLines)
	l.errorf(format, "10.0.0.2:6222", "connection refused")
	l.errorf(format, "10.0.0.1:6222", "no route to host")
	l.errorf(format, "[fd00::1]:6222", "no route to host")
	l.errorf(format, "[fd00::2]:6222", "no route to host")
	require.Len(t, l.since(), 4)
	l.errorf(format, "10.0.0.1:50001", "connection refused")
	require.Empty(t, l.since(), "another port is nothing new")
	for i := range 100 {
		l.errorf(format, fmt.Sprint("host-", strings.Repeat("x", i)), "unknown")
	}
	require.Len(t, l.since(), newLines-4, "but not without end")
	l.now = l.now.Add(time.Minute)
	l.errorf(format, "10.0.0.9:6222", "connection refused")
	l.errorf(format, "10.0.0.9:6222", "connection refused")
	require.Len(t, l.since(), 2, "what was held, and what is new again")
}

func TestLimitKeepsLittle(t *testing.T) {
	l := &limited{now: time.Unix(0, 0)}
	for i := range 2 * mostKinds {
		for range 10 {
			l.errorf(strings.Repeat("k", i+1)+" %s", strings.Repeat("x", 2*mostKept))
		}
	}
	require.Len(t, l.kinds, mostKinds+1, "and all others")
	for _, k := range l.kinds {
		require.LessOrEqual(t, len(k.said), mostSaid)
		require.LessOrEqual(t, len(k.last.text), mostKept+3)
	}
	l.since()
	l.tell(l.rest(l.now))
	require.Len(t, l.since(), mostKinds+1)
	l.now = l.now.Add(time.Minute)
	l.errorf("one")
	require.Len(t, l.kinds, 1)
}

func TestKindsOfLines(t *testing.T) {
	same := func(format, text, other, otherText string) {
		t.Helper()
		require.Equal(t, kindOf(format, text), kindOf(other, otherText))
	}
	differ := func(format, text, other, otherText string) {
		t.Helper()
		require.NotEqual(t, kindOf(format, text), kindOf(other, otherText))
	}
	const closed = "Router connection closed: Authentication Failure"
	same("127.0.0.1:50000 - rid:7 - "+closed, "", "10.0.0.2:50001 - rid:812 - "+closed, "")
	same("[fe80::1%%eth0]:50000 - rid:7 - "+closed, "", "10.0.0.2:50001 - rid:812 - "+closed, "")
	same(`10.0.0.1:5 - cid:7 - "v1:go:a \" b" - "$G/user:u" - x %s`, "", `10.0.0.1:6 - cid:8 - "v2:go" - x %s`, "")
	same("RAFT [abcdefgh - _meta_] Got %d", "", "RAFT [hgfedcba - S-R3F-x] Got %d", "")
	same(`Remote server has a duplicate name: "a"`, "", `Remote server has a duplicate name: "b"`, "")
	differ("127.0.0.1:50000 - rid:7 - one", "", "127.0.0.1:50000 - rid:7 - two", "")
	// Where the format says nothing, the text does.
	same("%s - %s%s", "10.0.0.1:1 - cid:1 - maximum exceeded 12", "%s - %s%s", "10.0.0.2:2 - cid:2 - maximum exceeded 13")
	differ("%s", "one", "%s", "two")
	differ("%-5.2f: %v%%", "one", "%-5.2f: %v%%", "two")
	same("%v: reads", "one: reads", "%v: reads", "two: reads")
}
