package embedded

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"
)

// limit keeps what a server says again and again from filling the log: a route that is refused is tried for ever, and says so six times a
// second. Of each kind of line a minute has the first few, and then those few that say something new; the others are counted, and told by the
// last of them once a minute while there are any. A kind of which a minute held nothing back begins anew. There is no goroutine: a minute
// that is over is told before the next line of any kind, and the last one by rest.
//
// It is pure, and for one goroutine at a time. The zero value is ready for use.
type limit struct {
	kinds map[string]*kind
}

const (
	limitWindow = time.Minute
	firstLines  = 3   // of a kind in a minute: as they are
	newLines    = 5   // and that differ from all before, as from other servers
	mostSaid    = 16  // what a kind has said, of late
	mostKinds   = 64  // those beyond are one kind together
	mostKept    = 512 // bytes of a line that are kept
)

// line is one that a server logs.
type line struct {
	level slog.Level
	text  string
}

// kind is what there was of one kind of line.
type kind struct {
	since  time.Time // a minute ago at most, unless nothing was logged since
	first  int       // lines that are still told as they are
	new    int       // and those that say something new
	said   []string  // by lines that were told; the latest is last
	held   int
	last   line // of those held
	lastAt time.Time
}

// take is what to log now that a line came: what has been held for long enough, and the line, unless it is held.
func (l *limit) take(now time.Time, level slog.Level, format, text string) []line {
	tell := l.over(now)
	k := l.of(now, fmt.Sprint(level, kindOf(format, text)))
	one := line{level, text}
	if k.passes(text) {
		return append(tell, one)
	}
	if k.held == 0 || level >= k.last.level { // of kinds together the worst
		k.last = line{level, shortened(text)}
	}
	k.held++
	k.lastAt = now
	return tell
}

// rest is what is still held, when the server has ended.
func (l *limit) rest(now time.Time) []line { return l.end(now, func(*kind) bool { return true }) }

func (l *limit) over(now time.Time) []line {
	return l.end(now, func(k *kind) bool { return now.Sub(k.since) >= limitWindow })
}

// end tells what was held of kinds whose minute is over, the earliest first, and begins their next one.
func (l *limit) end(now time.Time, isOver func(*kind) bool) []line {
	var held []*kind
	for name, k := range l.kinds {
		switch {
		case !isOver(k):
		case k.held == 0:
			delete(l.kinds, name)
		default:
			held = append(held, k)
		}
	}
	slices.SortFunc(held, func(a, b *kind) int { return a.lastAt.Compare(b.lastAt) })
	var tell []line
	for _, k := range held {
		tell = append(tell, k.sum(now))
		k.since, k.first, k.new, k.held, k.last = now, 0, newLines, 0, line{}
	}
	return tell
}

func (l *limit) of(now time.Time, name string) *kind {
	k := l.kinds[name]
	if k == nil && len(l.kinds) >= mostKinds {
		name = ""
		k = l.kinds[name]
	}
	if k == nil {
		if l.kinds == nil {
			l.kinds = map[string]*kind{}
		}
		k = &kind{since: now, first: firstLines, new: newLines}
		l.kinds[name] = k
	}
	return k
}

func (k *kind) passes(text string) bool {
	says := without(shortened(text))
	if i := slices.Index(k.said, says); i >= 0 {
		k.said = append(slices.Delete(k.said, i, i+1), says)
		if k.first == 0 {
			return false
		}
		k.first--
		return true
	}
	switch {
	case k.first > 0:
		k.first--
	case k.new > 0:
		k.new--
	default:
		return false
	}
	if k.said = append(k.said, says); len(k.said) > mostSaid {
		k.said = slices.Delete(k.said, 0, 1)
	}
	return true
}

// sum tells of all lines that were held by the last one.
func (k *kind) sum(now time.Time) line {
	one, ago := k.last, now.Sub(k.lastAt)
	switch late := ago >= limitWindow; {
	case k.held > 1 && late:
		one.text += fmt.Sprintf(" (%d more like this within a minute, %v ago)", k.held-1, ago.Round(time.Second))
	case k.held > 1:
		one.text += fmt.Sprintf(" (%d more like this in the last minute)", k.held-1)
	case late:
		one.text += fmt.Sprintf(" (%v ago)", ago.Round(time.Second))
	}
	return one
}

func shortened(text string) string {
	if len(text) <= mostKept {
		return text
	}
	return strings.ToValidUTF8(text[:mostKept], "") + "..."
}

var (
	// What nats-server puts before a format: the connection, who it is and, of a raft group, which one and where.
	aConnection = regexp.MustCompile(`^\S* - [a-z_]+:\d+(?: - "(?:[^"\\]|\\.)*"){0,2} - `)
	aVerb       = regexp.MustCompile(`%[-+# 0]*[\d.*]*[a-zA-Z%]`)
	aVariable   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|[\d.:]*\d`)
	// Numbers are others each time: of requests, connections, ports and times. Not so the addresses of hosts.
	aNumber = regexp.MustCompile(`\[[0-9a-fA-F]*:[0-9a-fA-F:.]*(?:%[^\]]+)?\]|\d+(?:\.\d+){3}|\d+`)
)

// kindOf is by what lines are told apart: their format, without what nats-server writes into some of them that belongs to one connection. A
// format without a word has its kind from the text.
func kindOf(format, text string) string {
	words := aVerb.ReplaceAllLiteralString(aConnection.ReplaceAllLiteralString(shortened(format), ""), "")
	if !strings.ContainsFunc(words, partOfWord) {
		words = aConnection.ReplaceAllLiteralString(shortened(text), "")
	}
	return aVariable.ReplaceAllLiteralString(words, "")
}

// without is what a line says, but for numbers.
func without(text string) string {
	return aNumber.ReplaceAllStringFunc(text, func(number string) string {
		if strings.ContainsAny(number, ".:") {
			return number
		}
		return ""
	})
}
