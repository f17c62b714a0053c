package rolebus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Entries on a NATS server.

// entryStore is what entries need of the bucket. kv is the one that talks JetStream.
type entryStore interface {
	// hearEntries starts to hear the announcements of a kind.
	hearEntries(ctx context.Context, scope, kind string) (*feed, error)
	// decodeEntry reads one. If there is a name beside the error, what stands there is to be looked at.
	decodeEntry(msg *nats.Msg, scope, kind string) (e Entry, first bool, err error)
	// newestEntry returns the generation of what was written last; 0 if there is nothing. If it must be sure it says what the
	// stream's leader has.
	newestEntry(ctx context.Context, scope, kind string, sure bool) (uint64, error)
	// readEntries returns what there is, up to at least a generation, in that order.
	readEntries(ctx context.Context, scope, kind string, to uint64) ([]Entry, error)
	// entryNames returns the names that the stream's leader has. It learns which fleet the bucket is of.
	entryNames(ctx context.Context, scope, kind string) (map[string]bool, error)
	// getEntry returns what stands there, as the stream's leader has it.
	getEntry(ctx context.Context, at place) (Entry, error)
	// putEntry writes in the place of what is of a generation, else errConflict; errNotSent if that did not even begin.
	putEntry(ctx context.Context, at place, value string, removed bool, replaces uint64) (uint64, error)
	// heartbeat returns the generation of a node's last heartbeat, as the stream's leader has it; 0 if there is none.
	heartbeat(ctx context.Context, scope, node string) (uint64, error)
	// bucketAge returns for how long the bucket has been there and was not seen to go back.
	bucketAge(now time.Time) time.Duration
}

// errNotSent says of a write that it did not even begin.
var errNotSent = errors.New("nothing was sent")

func (k *kv) hearEntries(ctx context.Context, scope, kind string) (*feed, error) {
	return k.subscribeTo(ctx, k.subj.kindChanges(scope, kind))
}

func (k *kv) decodeEntry(msg *nats.Msg, scope, kind string) (e Entry, first bool, err error) {
	h := readHeaders(msg.Header)
	if !h.complete(headersCame(msg)) {
		if name, bad := k.subj.parseEntryChange(msg.Subject, scope, kind); bad == nil {
			e.Name = name
		}
		return e, false, errGarbled
	}
	e, err = decodeEntryNews(k.subj, k.fleet.current(), h, msg.Subject, scope, kind)
	return e, h.before == "0", err
}

func (k *kv) newestEntry(ctx context.Context, scope, kind string, sure bool) (uint64, error) {
	last := k.last
	if sure {
		last = k.lastAtLeader
	}
	msg, err := last(ctx, k.subj.kindEntries(scope, kind))
	if msg == nil {
		return 0, err
	}
	return msg.generation, err
}

func (k *kv) readEntries(ctx context.Context, scope, kind string, to uint64) (entries []Entry, err error) {
	_, err = k.eachMessage(ctx, k.subj.kindEntries(scope, kind), 1, to, func(m message) {
		name, err := k.subj.parseEntry(m.subject, scope, kind)
		if err != nil {
			k.noise.ignore(m.subject, err)
			return
		}
		entries = append(entries, k.decodeStoredEntry(m, place{scope, kind, name}))
	})
	return entries, err
}

func (k *kv) decodeStoredEntry(m message, at place) Entry {
	e, err := decodeStoredEntry(m, at)
	if err != nil {
		k.noise.ignore(m.subject, err)
	}
	return e
}

func (k *kv) entryNames(ctx context.Context, scope, kind string) (map[string]bool, error) {
	names := map[string]bool{}
	err := k.eachSubject(ctx, k.subj.kindEntries(scope, kind), func(subject string) {
		if name, err := k.subj.parseEntry(subject, scope, kind); err == nil {
			names[name] = true
		}
	})
	return names, err
}

func (k *kv) getEntry(ctx context.Context, at place) (Entry, error) {
	subject := k.subj.entry(at)
	m, err := k.lastAtLeader(ctx, subject)
	if err != nil || m == nil {
		return Entry{Name: at.name}, err
	}
	m.subject = subject
	return k.decodeStoredEntry(*m, at), nil
}

func (k *kv) putEntry(ctx context.Context, at place, value string, removed bool, replaces uint64) (uint64, error) {
	err := k.refuses(ctx)
	if err == nil {
		err = k.nc.up()
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNotSent, err)
	}
	msg := entryMessage(k.subj, k.fleet.current(), at, value, removed, replaces)
	subject := msg.Subject
	generation, err := k.publish(ctx, msg, replaces)
	return generation, k.explain("write", subject, err)
}
