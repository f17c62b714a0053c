package rolebus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What it means that nobody answers for JetStream, and what mends it. That is another thing at a server whose JetStream is off
// than on a leaf node, whose hub has it.

// noJetStream explains that nobody answers for the bucket's JetStream, or that the account may not have it. In another domain
// or account that may pass: the link to it may not be up yet.
func (k *kv) noJetStream(ctx context.Context, err error) error {
	if k.subj.prefix != "" && errors.Is(err, nats.ErrNoResponders) {
		api := k.subj.streamAPI("INFO")
		if domain, ok := k.subj.domain(); ok {
			return fmt.Errorf("%w at %q: %s: %w", errUnanswered, api, k.surroundings(ctx).without(domain), err)
		}
		return fmt.Errorf("%w: %w", errUnanswered, k.reached(api, err))
	}
	if errors.Is(err, nats.ErrNoResponders) {
		err = fmt.Errorf("%w: %w", jetstream.ErrJetStreamNotEnabled, err) // as the client says it of an account
	}
	return fmt.Errorf("%s: %w", k.surroundings(ctx).off(), err)
}

// surroundings are what the server that this process is connected to says of itself, if it says anything.
type surroundings struct {
	said   bool
	domain string // "" if it did not say
	links  int    // of the account, to leaf nodes or to hubs
}

// surroundings asks the server. An account may forbid that, and older servers know no answer: then there is less to say.
func (k *kv) surroundings(ctx context.Context) (s surroundings) {
	ctx, cancel := context.WithTimeout(ctx, k.soon())
	defer cancel()
	msg, err := k.nc.RequestWithContext(ctx, "$SYS.REQ.ACCOUNT.PING.STATZ", nil)
	if err != nil {
		return s
	}
	var answer struct {
		Server struct {
			ID     string `json:"id"`
			Domain string `json:"domain"`
		} `json:"server"`
		Data struct {
			Accounts []struct {
				LeafNodes int `json:"leafnodes"`
			} `json:"account_statz"`
		} `json:"data"`
	}
	if json.Unmarshal(msg.Data, &answer) != nil {
		return s
	}
	s.said = true
	if answer.Server.ID == k.nc.ConnectedServerId() { // others may answer, too
		s.domain = answer.Server.Domain
	}
	for _, account := range answer.Data.Accounts {
		s.links += account.LeafNodes
	}
	return s
}

// off says why there is no JetStream here.
func (s surroundings) off() string {
	const enable = "start nats-server with -js, or enable it for the account"
	if s.links > 0 {
		return "JetStream is off on this server, or for this account, which a leaf node's link connects with another server's: if that has it, take its domain (WithDomain); else " + enable
	}
	return "JetStream is off: " + enable + "; if the bucket is on another server or in another account, say so (WithDomain, WithAPIPrefix)"
}

// without says why nobody answers in a domain.
func (s surroundings) without(domain string) string {
	switch {
	case s.said && s.links == 0 && s.domain != "":
		return fmt.Sprintf("this server is of the domain %q, and no leaf node's link of the account is up that may lead to %q", s.domain, domain)
	case s.said && s.links == 0:
		return fmt.Sprintf("no leaf node's link of the account is up that may lead to the domain %q", domain)
	}
	return fmt.Sprintf("no server has the domain %q, its JetStream is off for the account, or a link to it is down", domain)
}

// silences counts how often nobody answered where JetStream of another domain or account is asked, until somebody does.
type silences struct {
	mu    sync.Mutex
	times map[string]int // by what must be imported, or let through
}

// never says whether nobody ever answered there, in several attempts: then nobody will, unless somebody sees to it.
func (u *silences) never(what string) bool {
	const enough = 6
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.times == nil {
		u.times = map[string]int{}
	}
	if times, known := u.times[what]; !known || times > 0 {
		u.times[what]++
	}
	return u.times[what] >= enough
}

// heard takes note that somebody answers there.
func (u *silences) heard(what string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.times == nil {
		u.times = map[string]int{}
	}
	u.times[what] = 0
}

// missingError says what must be imported, or let through a link, for the bucket of another account or domain.
type missingError struct {
	subject string
	cause   error
}

func (e *missingError) Error() string {
	return fmt.Sprintf("nobody answers at %q: this account must import it as a service, or the link must let it through, see docs/LAYOUTS.md: %v", e.subject, e.cause)
}
func (e *missingError) Unwrap() error { return e.cause }

// reached looks at how a request to the bucket's JetStream ended. In another domain or account it may be that one kind of
// request is let through, and another is not: then it says which one, after some attempts in vain.
func (k *kv) reached(what string, err error) error {
	switch {
	case k.subj.prefix == "":
	case err == nil:
		k.unheard.heard(what)
	case errors.Is(err, nats.ErrNoResponders) && k.unheard.never(what):
		return &missingError{what, err}
	}
	return err
}

// missing is what reached says of a request where another kind was answered just before.
func (k *kv) missing(what string, err error) error {
	if k.subj.prefix != "" && errors.Is(err, nats.ErrNoResponders) {
		return &missingError{what, err}
	}
	return err
}

// unannounced takes note that something that is stored was not announced: the bucket may announce nothing any more. Where nothing ever
// was, nothing ever will be. It tells once that this process must read what others hear. That works, but for what it costs, and the delay.
func (b *Bus) unannounced(never bool) {
	if b.suspect != nil {
		b.suspect()
	}
	if !never {
		return
	}
	b.toldDeaf.Do(func() {
		subject := b.opts.subjects().changes()
		b.opts.log.Warn("what is stored in the bucket is not announced here, and so is known late: an account that has the bucket of another one must import the announcements as a stream, "+
			"and a link must let them through, see docs/LAYOUTS.md", "node", b.opts.node, "bucket", b.opts.bucket, "subject", subject)
	})
}

// tellOnlyFirst tells once that what could be read at once is read one by one.
func (k *kv) tellOnlyFirst() {
	k.toldOnlyFirst.Do(func() {
		k.log.Warn("of many answers only the first one comes, so records are read one by one: where one account imports the bucket's JetStream of another one, the export must say response_type: stream, "+
			"see docs/LAYOUTS.md", "bucket", k.subj.bucket, "subject", k.subj.directGet())
	})
}
