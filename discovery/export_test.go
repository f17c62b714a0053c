package discovery

import "time"

// Lines reads a file's text, for tests.
func Lines(text string, whole bool) ([]Address, error) {
	a := collect(nil).lines("test", text, whole)
	return a.addresses, a.err
}

// EncodeEntry makes the text of an announcement on this machine, for tests.
var EncodeEntry = encodeEntry

// DecodeEntry reads one, for tests.
var DecodeEntry = decodeEntry

// QuietFor sets for how long a file must not have changed, for tests that would take too long.
func QuietFor(d time.Duration) Option { return func(o *options) { o.quiet = d } }
