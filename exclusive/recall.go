package exclusive

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

// What the others remember. When the bucket has lost what it knew of a post, the last token is known to whoever has heard of it: a process
// that is new asks them before it makes one of its own, so that tokens go on to grow, whatever the servers' clocks say by now.

// kindRecall is of the subject on which those are asked who remember terms.
const kindRecall = "recall"

const (
	recallPatience = 200 * time.Millisecond // if fewer answer than there are nodes

	// allAnswer is up to how many nodes those answer, too, who remember nothing, so that nobody waits for them.
	allAnswer = 64
)

// wireMemory is the answer of somebody who remembers something of a post; {} if he does not.
type wireMemory struct {
	Claim    json.RawMessage `json:"claim,omitempty"`
	Resigned bool            `json:"resigned,omitempty"`
	Largest  uint64          `json:"largest,omitempty"` // token that it has ever heard of, where that is not the claim's
}

// remember answers those who ask what this process knows of a post, for as long as the Bus.
func (b *book) remember() error {
	_, err := b.bus.Subscribe(b.scope.Subject(kindRecall, "terms"), func(msg *nats.Msg) {
		var p struct{ Kind, Name string }
		if json.Unmarshal(msg.Data, &p) != nil || !b.bus.Answerable(msg.Reply) {
			return
		}
		b.mu.Lock()
		var m wireMemory
		if k := b.posts[post{p.Kind, p.Name}]; k != nil && k.claim.token > 0 {
			m.Claim, m.Resigned = json.RawMessage(k.claim.encode()), k.resigned
			if k.largest > k.claim.token {
				m.Largest = k.largest
			}
		}
		b.mu.Unlock()
		if m.Claim == nil && b.scope.Snapshot().Members().Len() > allAnswer {
			return
		}
		answer, err := json.Marshal(m)
		if err == nil {
			_ = msg.Respond(answer) // who gets none does without
		}
	})
	return err
}

// recollect asks the others what they remember of a post of which neither this process nor the bucket knows anything, and takes it in. It says whether
// there was anything.
func (b *book) recollect(ctx context.Context, p post) (bool, error) {
	nc, others := b.bus.Conn(), b.scope.Snapshot().Members().Len()-1
	if others < 1 {
		return false, nil
	}
	question, err := json.Marshal(map[string]string{"kind": p.kind, "name": p.name})
	if err != nil {
		return false, err
	}
	inbox, answers := nc.NewInbox(), make(chan *nats.Msg, 256)
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return false, err
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails if the connection has ended
	if err = nc.PublishRequest(b.scope.Subject(kindRecall, "terms"), inbox, question); err != nil {
		return false, err
	}
	enough := time.NewTimer(recallPatience)
	defer enough.Stop()
	recalled := false
	for came := 0; came <= others; came++ { // this process's own is one of them
		select {
		case msg := <-answers:
			if msg.Header.Get("Status") == "503" && len(msg.Data) == 0 {
				return recalled, nil
			}
			recalled = b.recalled(p, msg.Data) || recalled
		case <-enough.C:
			return recalled, nil
		case <-ctx.Done():
			return recalled, ended(ctx)
		}
	}
	return recalled, nil
}

// recalled takes in what somebody remembers; false if that is nothing new.
func (b *book) recalled(p post, answer []byte) bool {
	var m wireMemory
	if json.Unmarshal(answer, &m) != nil || m.Claim == nil {
		return false
	}
	c, err := decodeClaim(string(m.Claim))
	if err != nil || m.Largest > maxNumber {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(p)
	k.largest = max(k.largest, m.Largest)
	if !k.remind(c, m.Resigned, b.ownLocked(k.claim), time.Now()) {
		return false
	}
	b.lookLocked(k, b.scope.Snapshot(), time.Now())
	k.wake()
	return true
}
