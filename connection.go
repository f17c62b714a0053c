package rolebus

import (
	"context"
	"errors"
	"time"
)

// What a Bus does for all its scopes with the one connection that they share.

// listen starts to hear what concerns every scope: who asks for a witness, and whose connection was closed.
func (b *Bus) listen() error {
	if b.peers == nil {
		return nil
	}
	b.attest()
	if b.opts.probe == 0 {
		return nil
	}
	run, err := b.peers.deaths(func(h hint) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for m := range b.stays {
			m.prober.hear(h)
		}
	})
	if err != nil {
		return err
	}
	b.wg.Go(func() { run(b.ctx) })
	return nil
}

// attest makes this process a witness for the server that it is connected to now, and no more for the one before, which it returns.
func (b *Bus) attest() (before string) {
	if b.peers == nil || b.opts.observer || b.peers.server() == "" {
		return ""
	}
	b.attesting.Lock()
	defer b.attesting.Unlock()
	before, b.attested = b.attested, b.peers.server()
	ctx, cancel := context.WithCancel(b.ctx)
	run, err := b.peers.attest()
	if err != nil {
		b.opts.log.Info("no witness for the server", "node", b.opts.node, "error", err)
		cancel()
		return before
	}
	b.wg.Go(func() { run(ctx) })
	if b.unattest != nil {
		b.unattest()
	}
	b.unattest = cancel
	return before
}

// speak tells the others that this process is there again, which was connected to a server before: they may have found that nobody
// listened for it. With its server gone nobody did, and all its clients would tell all others at once.
func (b *Bus) speak(before string) {
	speak := func() {
		for _, m := range b.staying() {
			m.speak()
		}
	}
	switch {
	case before == "":
	case before == b.peers.server():
		speak()
	default:
		_ = b.goWhileOpen(func() { // if the bus stops, others need not know
			ctx, cancel := context.WithTimeout(b.ctx, witnessPatience)
			defer cancel()
			if err := b.peers.witness(ctx, before); err == nil || errors.Is(err, errSilent) {
				speak()
			}
		})
	}
}

// watchServer leaves a server that hangs, or to which the path is broken unnoticed, for another one within a lease: when it
// sent nothing for a fifth of a TTL, and then answered nothing for as long. A server that sends is only busy, however late it
// answers: to leave it would make more work for it, and the more who do so the more. Nor need it be asked. If to leave did not
// help, the next time it takes twice as long.
func (b *Bus) watchServer() {
	every, silent, enough, came := max(b.opts.ttl/5, time.Second), 0, 1, uint64(0)
	for {
		began, before := time.Now(), came
		came = b.nc.conn().Stats().InMsgs
		switch {
		case !b.nc.IsConnected():
			silent = 0
		case came == before && b.answersNothing(every) && b.nc.conn().Stats().InMsgs == came:
			silent++
		default:
			silent, enough = 0, max(enough/2, 1)
		}
		if silent >= enough {
			silent, enough = 0, min(2*enough, 16)
			b.opts.log.Warn("the server is silent, trying another one", "node", b.opts.node)
			_ = b.nc.conn().ForceReconnect() // fails only if the connection is closed already
		}
		if !sleep(b.ctx, every-time.Since(began)) {
			return
		}
	}
}

// answersNothing says whether the server leaves a question unanswered for so long.
func (b *Bus) answersNothing(patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return errors.Is(b.nc.FlushWithContext(ctx), context.DeadlineExceeded) && b.nc.IsConnected()
}
