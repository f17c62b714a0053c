package exclusive

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rolebus/rolebus"
)

// The stored form of a term. docs/PROTOCOL.md describes it.

// The kinds of entries that claims are. All seats of a name but the first have a key of their own, in another kind, so that no name can
// be taken for a seat of another one.
const (
	kindName      = "claim"
	kindSeat      = "seat"
	kindPartition = "partition"
)

const (
	maxNumber = 1<<53 - 1 // of an incarnation or a token: what JSON numbers hold exactly in every language
	maxToken  = 200       // bytes that a name takes in a subject
)

// post is what one term at a time is of: a name, a seat of it, or a partition.
type post struct{ kind, name string }

// seatOf returns the post of a name's seat, of which there are as many as there are candidates for at the most. The first one is the name itself.
func seatOf(name string, seat int) post {
	if seat == 0 {
		return post{kindName, name}
	}
	return post{kindSeat, name + "/" + strconv.Itoa(seat)}
}

func (p post) String() string { return p.kind + "." + p.name }

// life is one life of a node.
type life struct {
	node        string
	incarnation uint64
}

// claim is a term as it is stored: who has it. The zero claim is none.
type claim struct {
	life
	token uint64
	ttl   time.Duration // the holder's: for no longer is it certain of its lease after its last heartbeat
	since time.Time     // when the term began, by the server's clock
}

// wireClaim is the value of an entry.
type wireClaim struct {
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation"`
	Token       uint64 `json:"token"`
	TTL         uint64 `json:"ttl"`   // milliseconds
	Since       uint64 `json:"since"` // milliseconds since 1970, by the server's clock
}

func (c claim) encode() string {
	value, err := json.Marshal(wireClaim{
		Node: c.node, Incarnation: c.incarnation, Token: c.token, TTL: uint64(c.ttl / time.Millisecond), Since: uint64(c.since.UnixMilli()),
	})
	if err != nil {
		panic(err) // of texts and numbers there is none
	}
	return string(value)
}

// noClaim is the value of an entry that is none.
const noClaim = "{}"

var errNoClaim = errors.New("nothing of ours")

// decodeClaim reads a claim, written by whomever.
func decodeClaim(value string) (claim, error) {
	if value == "" {
		return claim{}, errNoClaim
	}
	if !utf8.ValidString(value) {
		return claim{}, errors.New("not UTF-8")
	}
	var w wireClaim
	if err := json.Unmarshal([]byte(value), &w); err != nil {
		return claim{}, err
	}
	c := claim{
		life: life{w.Node, w.Incarnation}, token: w.Token, ttl: time.Duration(min(w.TTL, maxNumber/1_000_000)) * time.Millisecond,
		since: time.UnixMilli(int64(min(w.Since, maxNumber))),
	}
	return c, errors.Join(
		checkName("node", w.Node),
		check(0 < w.Incarnation && w.Incarnation <= maxNumber, "incarnation %d: not from 1 to %d", w.Incarnation, uint64(maxNumber)),
		check(0 < w.Token && w.Token <= maxNumber, "token %d: not from 1 to %d", w.Token, uint64(maxNumber)),
		check(time.Second <= c.ttl && c.ttl <= 24*time.Hour, "ttl %d: not from 1000 to 86400000", w.TTL),
		check(w.Since <= maxNumber, "since %d: above %d", w.Since, uint64(maxNumber)),
	)
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// checkSeats says what is wrong with a name of which there are so many seats.
func checkSeats(name string, seats int) error {
	if err := checkName("name", name); err != nil {
		return err
	}
	return checkName("name with its last seat", seatOf(name, seats-1).name)
}

// checkName says what is wrong with a name that is to stand in a key as one token.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: %s is empty", rolebus.ErrBadName, what)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %s %q is not UTF-8", rolebus.ErrBadName, what, clip(name))
	case len(rolebus.SubjectToken(name)) > maxToken:
		return fmt.Errorf("%w: %s %q takes %d bytes, at most %d", rolebus.ErrBadName, what, clip(name), len(rolebus.SubjectToken(name)), maxToken)
	}
	return nil
}

// clip shortens text that goes into an error or a log line.
func clip(text string) string {
	const limit = 64
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "..."
}
