package rolebus

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// How much the bucket may hold. A bucket that is full throws its oldest messages away, which are the records of those who
// changed nothing for longest; their owners write them again, which throws others away, for ever.

const (
	// minBytes is room for some 50 nodes: a node takes about 1 KB in each scope, for its record and its lease, and what
	// its roles and metadata take; when it is gone its tombstone takes half of that for an hour.
	minBytes = 64 << 10

	// usualBytes is what a bucket gets in an account that demands a limit: room for some 50,000 nodes. Such a limit is
	// reserved in the account at once, for each replica, whether it is used or not, so less is asked for if it does not fit.
	usualBytes = 64 << 20
	leastBytes = 1 << 20
)

// cramped says whether a limit leaves too little room for what is there.
func cramped(limit int64, used uint64) bool {
	return limit > 0 && (limit < minBytes || used > uint64(limit-limit/4))
}

// room finds out whether the limit on the bucket's size is large enough.
func (k *kv) room(d *comparison, info *jetstream.StreamInfo, wishes bool) {
	have, used, wish := info.Config.MaxBytes, info.State.Bytes, k.settings.maxBytes
	switch {
	case cramped(have, used):
		d.want.MaxBytes = k.sizes(more(have))[0]
		must := "at least " + fmt.Sprint(more(have))
		d.differ(alters, true, "max bytes", fmt.Sprintf("%d, of which %d are used", have, used), must)
	case wishes && !k.settings.untouched && 0 < have && have < wish:
		d.want.MaxBytes = wish
		d.differ(alters, false, "max bytes", have, wish)
	}
}

// more is what a limit that turned out too small is raised to at least.
func more(limit int64) int64 { return max(4*limit, leastBytes) }

// sizes are the limits to try, one after another, as long as the account does not take them: what was asked for, or none,
// and then what an account that demands one may have room for. None is less than least.
func (k *kv) sizes(least int64) []int64 {
	if n := k.settings.maxBytes; n > 0 {
		return []int64{max(n, least)}
	}
	sizes := []int64{-1}
	for n := max(usualBytes, least); n >= max(leastBytes, least); n /= 2 {
		sizes = append(sizes, n)
	}
	return sizes
}

// fits makes or mends the stream with the first of some limits that the account takes.
func fits(sizes []int64, try func(limit int64) error) (err error) {
	for _, limit := range sizes {
		if err = try(limit); !hasCode(err, codeMaxBytesRequired) && (limit <= 0 || !tooMuch(err)) {
			return err
		}
	}
	return fmt.Errorf("there is no room for max bytes of %d: give the account more, or ask for less (WithMaxBytes): %w", sizes[len(sizes)-1], err)
}

// tooMuch says whether a limit is more than the account, or the servers, have room for.
func tooMuch(err error) bool {
	return hasCode(err, codeMaxBytesExceeded) || hasCode(err, codeNoStorage) || hasCode(err, codeNoMemory)
}

// codes of the server's API about sizes that nats.go has no name for.
const (
	codeMaxBytesRequired jetstream.ErrorCode = 10113
	codeMaxBytesExceeded jetstream.ErrorCode = 10122
	codeNoStorage        jetstream.ErrorCode = 10047
	codeNoMemory         jetstream.ErrorCode = 10028
)

func hasCode(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}
