package rolebus

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
)

// SetMeta makes this the node's metadata in the place of all that it had, the same in every scope: those that are joined, each
// in one announcement, and those that will be. Others read it by [Node.Meta], and hear of it by [MetaChanged]. It returns when
// the bucket and the caller's own snapshots hold it in each scope that is joined; metadata that is as it was is not written
// again. Of two calls at the same time one is the last, in all scopes alike. A change of roles that waits meanwhile leaves in
// the same write.
//
// If ctx is over first the error matches [ErrNotConfirmed], and the metadata is still wanted: it is written as soon as NATS can
// be reached. Other errors change nothing, in no scope: [ErrTooLarge] if the record would be larger than the server takes in
// any of them, [ErrReadOnly] for an observer, [ErrClosed], and that a key is empty, or a key or a value not UTF-8, as for
// [WithMeta]. (If the server's limit was lowered just before, scopes with small records may show the metadata for a moment, until it
// is taken back in all.) A scope that is left meanwhile is no error.
func (b *Bus) SetMeta(ctx context.Context, meta map[string]string) error {
	const op = "set metadata"
	if err := b.usable(ctx); err != nil {
		return failed(op, err)
	}
	meta = maps.Clone(meta)
	err := b.writable(ctx)
	if err == nil {
		err = checkMeta(meta)
	}
	if err != nil {
		return failed(op, err)
	}
	changes, err := b.dress(meta)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range changes {
		err := c.stay.confirmed(ctx, c.call)
		switch {
		case err == nil:
		case b.ctx.Err() != nil:
			return failed(op, b.endedOr(ctx))
		case c.stay.kctx.Err() == nil: // else the scope was left
			errs = append(errs, c.stay.scope.opErr(op, err))
		}
	}
	return errors.Join(errs...)
}

// dressed is what is to be waited for in one stay.
type dressed struct {
	stay *member
	call *wish
}

// dress makes every stay want other metadata, or none, if it would make a record too large. The returned are those who have
// taken their place, by scope. Whoever joins just now waits for its own.
func (b *Bus) dress(meta map[string]string) (changes []dressed, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	stays := slices.SortedFunc(maps.Keys(b.stays), func(m, other *member) int { return strings.Compare(m.scope.name, other.scope.name) })
	for _, m := range stays { // all at once: a role that came in between could make one record too large
		w := m.keeper.want
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	for _, m := range stays {
		if w := m.keeper.want; !maps.Equal(w.meta, meta) && m.kctx.Err() == nil {
			if err := m.checkSize(wanted{w.roles, meta}); err != nil {
				return nil, m.scope.opErr("set metadata", err)
			}
		}
	}
	b.meta = meta
	for _, m := range stays {
		if call := m.keeper.want.dress(meta); call != nil {
			changes = append(changes, dressed{m, call})
		}
	}
	return changes, nil
}

// undress takes metadata back that the server will not have in one of the scopes: it is the same in all of them.
func (b *Bus) undress(refused, before map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !maps.Equal(b.meta, refused) {
		return // something else is wanted by now
	}
	b.meta = before
	for m := range b.stays {
		w := m.keeper.want
		w.mu.Lock()
		w.wear(before)
		w.mu.Unlock()
	}
}
