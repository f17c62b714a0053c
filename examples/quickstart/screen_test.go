package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	nobody = []row{{"web-1"}, {"worker-1"}, {"worker-2"}}
	all    = []row{
		{"web-1", "4194301", "checkout, web"},
		{"worker-1", "4194302", "packer", "invoicer"},
		{"worker-2", "4194303", "packer", "invoicer, printer"},
	}
)

// play tells a little story.
func play(s *screen) {
	s.title("title", nobody)
	s.begin(time.Now(), "start", nobody)
	s.draw(all[:2])
	s.draw(all)
	s.tell(1234*time.Millisecond, "started", all)
	s.next("kill", all)
	s.begin(time.Now(), "kill", all)
	s.draw(nobody)
	s.tell(500*time.Microsecond, "killed", nobody)
}

const (
	fullTable = `          node       process   roles in shop         roles in billing
          web-1      4194301   checkout, web         -
          worker-1   4194302   packer                invoicer
          worker-2   4194303   packer                invoicer, printer
`
	emptyTable = `          node       process   roles in shop         roles in billing
          web-1      -         -                     -
          worker-1   -         -                     -
          worker-2   -         -                     -
`
)

func TestScreenOfATerminal(t *testing.T) {
	for _, color := range []bool{false, true} {
		var term terminal
		s := &screen{out: &term, live: true, color: color}
		play(s)
		require.NoError(t, s.err)
		require.Equal(t, "title\n\n 1.23 s   started\n  0.5 ms  killed\n\n"+emptyTable, term.text())
		require.Equal(t, color, term.painted)

		writes := term.writes
		s.draw(nobody)
		require.Equal(t, writes, term.writes, "what is on the screen is not written again")

		s.next("wait", nobody)
		require.Contains(t, term.text(), "killed\n          next: wait\n\n")
		s.begin(time.Now().Add(-3*time.Second), "wait", all)
		require.Regexp(t, `killed\n +3\.\d s   wait \.\.\.\n\n`+regexp.QuoteMeta(fullTable)+"$", term.text())
		for line := range strings.Lines(term.text()) {
			require.LessOrEqual(t, len(line), 80)
		}
	}
}

func TestScreenElsewhere(t *testing.T) {
	var out strings.Builder
	play(&screen{out: &out})
	require.Equal(t, "title\n\n 1.23 s   started\n\n"+fullTable+"\n  0.5 ms  killed\n\n"+emptyTable+"\n", out.String())
}

// terminal understands what the screen writes, each time a whole frame.
type terminal struct {
	lines   []string
	row     int
	writes  int
	painted bool
}

var sequence = regexp.MustCompile(`\x1b\[(\?7|\d*(?:;\d+)?)([A-Za-z])`)

func (term *terminal) Write(frame []byte) (int, error) {
	term.writes++
	text, col := string(frame), 0
	for text != "" {
		for term.row >= len(term.lines) {
			term.lines = append(term.lines, "")
		}
		at := &term.lines[term.row]
		if found := sequence.FindStringSubmatch(text); found != nil && strings.HasPrefix(text, found[0]) {
			text = text[len(found[0]):]
			switch found[2] {
			case "A":
				n, err := strconv.Atoi(found[1])
				if err != nil || n > term.row {
					return 0, strconv.ErrRange
				}
				term.row -= n
			case "K":
				*at = (*at)[:col]
			case "J":
				*at, term.lines = (*at)[:col], term.lines[:term.row+1]
			case "m":
				term.painted = true
			case "l", "h": // wrapping
			default:
				return 0, strconv.ErrSyntax
			}
			continue
		}
		switch c := text[0]; c {
		case '\r':
			col = 0
		case '\n':
			term.row, col = term.row+1, 0
		default:
			if col == len(*at) {
				*at += " "
			}
			*at = (*at)[:col] + string(c) + (*at)[col+1:]
			col++
		}
		text = text[1:]
	}
	return len(frame), nil
}

func (term *terminal) text() string { return strings.Join(term.lines, "\n") }
