package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rolebus/rolebus"
)

// worker is the role of those that do jobs.
const worker = rolebus.Role("worker")

// Job is what has to be done: here a text to be hashed, and some time to be spent. Done twice it gives the same result and
// does no harm: it has to, because it may be done twice.
type Job struct {
	ID    int
	Text  string
	Takes time.Duration
}

// Result is a worker's answer.
type Result struct {
	Job     int
	Sum     string
	Refused string // why the worker did not do it; "" if it did
}

func (j Job) do() Result {
	time.Sleep(j.Takes)
	return Result{Job: j.ID, Sum: j.sum()}
}

// sum is the right result, with which anybody can check that of a worker.
func (j Job) sum() string {
	sum := sha256.Sum256([]byte(j.Text))
	return hex.EncodeToString(sum[:])
}

// subject is where one life of a worker hears of jobs. It needs no port that others would have to reach and no address that
// they would have to be told: whoever sees the node in his snapshot has all of it. And no other process hears what is sent
// there, neither an older one of the same name that still runs nor the newer one: to send to a life that is over fails at once.
// (Of a name with spaces, "*" or ">" the hex form would do: %x.)
func subject(n *rolebus.Node) string {
	return fmt.Sprintf("jobs.%s.%d", rolebus.SubjectToken(n.Name()), n.Incarnation())
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // text and numbers always have a JSON form
	}
	return raw
}
