package rolebus

import (
	"errors"
	"strings"
)

// Where the bucket is, as seen from this process: in its own account and domain, or elsewhere.

// WithDomain takes the bucket of another JetStream domain, as that of the hub from a process on a leaf node: every request to
// JetStream, and all that is stored, goes there. All processes of a fleet reach the same bucket then, wherever they are; where the
// bucket's own domain is, the option does no harm. docs/LAYOUTS.md has the configuration of servers. Not beside [WithAPIPrefix].
// Default: the domain of the server that this process is connected to.
func WithDomain(name string) Option { return func(o *options) { o.domain = &name } }

// WithAPIPrefix takes the bucket of another account, whose JetStream this process's account imports under a prefix, such as
// "JS.hub.API": every request to JetStream, and all that is stored, goes there. The account needs further imports:
// docs/LAYOUTS.md has them all. Not beside [WithDomain]. Default: "$JS.API", the JetStream of the own account.
func WithAPIPrefix(prefix string) Option {
	return func(o *options) {
		prefix = strings.TrimSuffix(prefix, ".") // as other clients take it, too
		o.prefix = &prefix
	}
}

// subjects are those of the bucket's traffic.
func (o *options) subjects() subjects {
	s := subjects{bucket: o.bucket}
	switch {
	case o.domain != nil:
		s.prefix = "$JS." + *o.domain + ".API"
	case o.prefix != nil && *o.prefix != defaultAPI:
		s.prefix = *o.prefix
	}
	return s
}

// checkReach says what is wrong with where the bucket is to be found.
func (o *options) checkReach() error {
	var errs []error
	if o.domain != nil {
		errs = append(errs, checkDomain(*o.domain))
	}
	if o.prefix != nil {
		errs = append(errs, checkPrefix(*o.prefix))
	}
	return errors.Join(append(errs, check(o.domain == nil || o.prefix == nil, "domain and API prefix: only one of them"))...)
}
