//go:build linux

package selfformed_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// verdict is what the judge says of all that was heard.
type verdict struct {
	wrong   []string
	losses  int // that were judged, of nodes and of contexts
	starved int // of these, that were excused because the machine had no time
	acked   int // messages
}

const (
	// recovery is how long what was frozen or cut off may be taken for unreachable, and for lost, after that.
	recovery = 6 * time.Second
	// silence within a lease is long enough that it may have ended.
	silence = ttl / 3
)

// life is one of a node's: two nodes that begin in the same moment may have the same number.
type life struct {
	node   string
	number uint64
}

// judge reads the history. The processes are known by their numbers. What was stored was read from that time on, never if it was not.
func judge(records []record, procs []*proc, stored []string, read instant) verdict {
	v := verdict{}
	lives := map[life]*proc{}
	online := map[int][]record{} // to which servers each was connected, and when
	ending := map[int]instant{}
	for _, r := range records {
		switch r.Kind {
		case isJoined:
			lives[life{r.Node, r.Life}] = procs[r.proc]
		case isOnline:
			online[r.proc] = append(online[r.proc], r)
		case isEnding:
			ending[r.proc] = r.At
		}
	}
	has := map[string]bool{}
	for _, text := range stored {
		has[text] = true
	}
	for _, r := range records {
		observer := fmt.Sprintf("%s#%d", nameOf(procs, r), r.proc)
		switch r.Kind {
		case isAcked:
			v.acked++
			if r.At < read && !has[r.Text] {
				v.wrong = append(v.wrong, fmt.Sprintf("message %s was acknowledged, and is lost", r.Text))
			}
		case isDead:
			if procs[r.proc].to > r.At {
				v.wrong = append(v.wrong, fmt.Sprintf("the bus of %s ended: %s", observer, r.Text))
			}
		case misses, isOver:
			owner := lives[life{r.Node, r.Life}]
			v.losses++
			switch {
			case owner == nil || owner.to <= r.At: // it had not said yet that it has joined, or it is gone
			case strings.Contains(r.Text, "left"):
				v.wrong = append(v.wrong, fmt.Sprintf("%s says that %s#%d, life %d, has left, and it has not (%s)", observer, owner.name, owner.number, r.Life, r.Kind))
			case excused(r, procs, online, owner):
			case stalledIn(records, procs, span{r.At.sub(ttl), r.At}) >= ttl/3-2*tick:
				v.starved++
			default:
				v.wrong = append(v.wrong, fmt.Sprintf("%s says of %s#%d, life %d, which ran and reached the cluster: %s (%s)",
					observer, owner.name, owner.number, r.Life, r.Text, r.Kind))
			}
		}
	}
	return v
}

func nameOf(procs []*proc, r record) string {
	if r.Kind == isTold {
		return ""
	}
	return procs[r.proc].name
}

// excused says whether a process may be missed that runs. What is said of it is about the time before. It was kept from the others, or was connected
// to a server that was, for as long as its lease may have ended, or, if it is only taken for unreachable, at all: and so was who says that.
func excused(r record, procs []*proc, online map[int][]record, owner *proc) bool {
	window := span{r.At.sub(2*ttl + recovery), r.At}
	hindered := func(p *proc, in span, long time.Duration) bool {
		spans := slices.Clone(p.disturbed)
		for _, s := range serversOf(online[p.number], in) {
			for _, other := range procs {
				if other.server == s {
					spans = append(spans, other.disturbed...)
				}
			}
		}
		return slices.ContainsFunc(spans, func(s span) bool {
			s.to = min(s.to, r.At)
			return s.meets(in) && s.to.since(s.from) >= long
		})
	}
	for _, s := range procs[r.proc].disturbed { // it hears later what was so
		if s.meets(span{r.At.sub(recovery), r.At}) {
			window.from = min(window.from, s.from.sub(2*ttl))
		}
	}
	if strings.Contains(r.Text, "unreachable") {
		lately := span{r.At.sub(recovery), r.At}
		return hindered(owner, lately, 0) || hindered(procs[r.proc], lately, 0)
	}
	return hindered(owner, window, silence)
}

// serversOf are those that a bus was connected to in a span.
func serversOf(online []record, in span) []string {
	var list []string
	for i, r := range online {
		to := never
		if i+1 < len(online) {
			to = online[i+1].At
		}
		if (span{r.At, to}).meets(in) {
			list = append(list, r.Node)
		}
	}
	return list
}
