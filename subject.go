package rolebus

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxToken is the largest size of a name, in bytes, in the form that stands in a subject.
const maxToken = 200

// subjects makes and reads every subject that a bucket's traffic uses.
type subjects struct {
	bucket string
	prefix string // where JetStream is asked, if that is not defaultAPI: in another domain, or behind an import
}

// defaultAPI is where the JetStream of a client's own account and domain is asked.
const defaultAPI = "$JS.API"

// api is where the JetStream that has the bucket is asked for something.
func (s subjects) api(what string) string { return cmp.Or(s.prefix, defaultAPI) + "." + what }

// into is where to publish what is to be stored in the bucket under a subject. Elsewhere it goes by way of the API, as every
// KV client does it: nothing else reaches a bucket of another domain, and an import has room for it there. What is stored, and
// what its headers name, is the subject itself.
func (s subjects) into(subject string) string {
	if s.prefix == "" {
		return subject
	}
	return s.api(subject)
}

// atItsServer is what a server of a domain makes of what is asked of that domain's JetStream. It looks at the rights only then, and
// names in its refusal what it made; another server names what was sent.
func atItsServer(subject string) string {
	prefix, rest, found := strings.Cut(subject, ".API.")
	if found && strings.HasPrefix(rest, "$KV.") {
		return rest
	}
	if domain, is := strings.CutPrefix(prefix, "$JS."); found && is && domain != "" && !strings.Contains(domain, ".") {
		return defaultAPI + "." + rest
	}
	return subject
}

func (s subjects) stream() string  { return "KV_" + s.bucket }
func (s subjects) records() string { return "$KV." + s.bucket + ".>" }
func (s subjects) leases() string  { return "$KV." + s.bucket + "=lease.>" }
func (s subjects) changes() string { return s.bucket + ".changes.>" }

// oldLeases is where leases stood once: a bucket that has it is ours.
func (s subjects) oldLeases() string { return s.bucket + ".lease.>" }

func (s subjects) probe(scope, node string) string {
	return s.bucket + ".probe." + SubjectToken(scope) + "." + SubjectToken(node)
}

func (s subjects) suspect(scope, node string) string {
	return s.bucket + ".suspect." + SubjectToken(scope) + "." + SubjectToken(node)
}

func (s subjects) scopeSuspects(scope string) string {
	return s.bucket + ".suspect." + SubjectToken(scope) + ".*"
}

// witness is answered by the processes that are connected to a server.
func (s subjects) witness(server string) string { return s.bucket + ".witness." + SubjectToken(server) }

// address is where one life of a node hears what is sent to it under a name, of a kind.
func (s subjects) address(kind, scope, node string, incarnation uint64, name string) string {
	subject := make([]byte, 0, 128)
	for _, token := range []string{s.bucket, kind, SubjectToken(scope), SubjectToken(node)} {
		subject = append(append(subject, token...), '.')
	}
	subject = append(strconv.AppendUint(subject, incarnation, 10), '.')
	return string(append(subject, SubjectToken(name)...))
}

// checkKind says what is wrong with the kind of an address. Those of the protocol itself are not for others, nor is that by which a
// bucket of before is told.
func checkKind(kind string) error {
	switch {
	case checkName("kind", kind) != nil || !asItIs(kind):
		return fmt.Errorf("%w: kind %q: only letters, digits, - and _", ErrBadName, clip(kind))
	case slices.Contains([]string{"changes", "lease", "probe", "suspect", "witness"}, kind):
		return fmt.Errorf("%w: kind %q is the protocol's own", ErrBadName, kind)
	}
	return nil
}

// disconnects is where an account hears of its connections that were closed, if its servers are set up so. It is the same
// for all buckets.
const disconnects = "rolebus.sys.disconnect"

func (s subjects) record(scope, node string) string {
	return "$KV." + s.bucket + "." + SubjectToken(scope) + "." + SubjectToken(node)
}

// lease is where a node's lease stands. No key of any bucket can be written so, and a leaf node's link never carries what
// begins with $KV: the leases of two buckets of one name, in two domains, stay apart.
func (s subjects) lease(scope, node string) string {
	return "$KV." + s.bucket + "=lease." + SubjectToken(scope) + "." + SubjectToken(node)
}

// allOf is what a record or a lease is one of.
func (s subjects) allOf(subject string) string {
	if strings.HasPrefix(subject, strings.TrimSuffix(s.leases(), ">")) {
		return s.leases()
	}
	return s.records()
}

// scopeRecords and scopeChanges are of all scopes if there is no name.
func (s subjects) scopeRecords(scope string) string {
	return "$KV." + s.bucket + "." + anyToken(scope) + ".*"
}

// entry is where one stands: a key of three tokens, which no record has.
func (s subjects) entry(at place) string {
	return "$KV." + s.bucket + "." + SubjectToken(at.scope) + "." + at.kind + "." + SubjectToken(at.name)
}

func (s subjects) kindEntries(scope, kind string) string {
	return "$KV." + s.bucket + "." + SubjectToken(scope) + "." + kind + ".*"
}

func (s subjects) kindChanges(scope, kind string) string {
	return s.bucket + ".changes." + SubjectToken(scope) + "." + kind + ".*"
}

// shared is a subject that all of a scope share, of a kind, under a name.
func (s subjects) shared(kind, scope, name string) string {
	return s.bucket + "." + kind + "." + SubjectToken(scope) + "." + SubjectToken(name)
}

func (s subjects) scopeLeases(scope string) string {
	return "$KV." + s.bucket + "=lease." + SubjectToken(scope) + ".*"
}

// scopeAll is where both stand, records and leases.
func (s subjects) scopeAll(scope string) string { return "$KV.*." + SubjectToken(scope) + ".*" }

func (s subjects) scopeChanges(scope string) string {
	return s.bucket + ".changes." + anyToken(scope) + ".*"
}

func anyToken(name string) string {
	if name == "" {
		return "*"
	}
	return SubjectToken(name)
}

// domain is the one whose JetStream is asked, if that is said.
func (s subjects) domain() (name string, ok bool) {
	name, ok = strings.CutPrefix(s.prefix, "$JS.")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, ".API")
}

// streamAPI is where the stream's leader is asked for something.
func (s subjects) streamAPI(what string) string { return s.api("STREAM." + what + "." + s.stream()) }

// directGet is where any replica is asked for messages.
func (s subjects) directGet() string { return s.api("DIRECT.GET." + s.stream()) }

// consumerAPI is where a consumer is made, asked for messages, and removed.
func (s subjects) consumerAPI(what, name string) string {
	return s.api("CONSUMER." + what + "." + s.stream() + "." + name)
}

// means says whether a message on a subject would mean something to a server or to other processes.
func (s subjects) means(subject string) bool {
	return strings.HasPrefix(subject, "$") || strings.HasPrefix(subject, s.bucket+".") || strings.HasPrefix(subject, s.api(""))
}

// parseRecord returns the scope and the node that a record's subject names.
func (s subjects) parseRecord(subject string) (scope, node string, err error) {
	return parseNames(subject, "$KV.", s.bucket, ".")
}

// parseLease returns the scope and the node that a lease's subject names.
func (s subjects) parseLease(subject string) (scope, node string, err error) {
	return parseNames(subject, "$KV.", s.bucket, "=lease.")
}

// announces says whether the announcement on a subject is of the record on another.
func (s subjects) announces(change, record string) bool {
	tail, isChange := strings.CutPrefix(change, s.bucket+".changes.")
	of, isRecord := strings.CutPrefix(record, "$KV."+s.bucket+".")
	return isChange && isRecord && tail == of
}

// parseChange returns the scope and the node that an announcement's subject names.
func (s subjects) parseChange(subject string) (scope, node string, err error) {
	return parseNames(subject, s.bucket, ".changes.")
}

// parseSuspect returns the scope and the node that a hint's subject names.
func (s subjects) parseSuspect(subject string) (scope, node string, err error) {
	return parseNames(subject, s.bucket, ".suspect.")
}

// parseEntry returns the name that an entry's subject has, of a kind in a scope.
func (s subjects) parseEntry(subject, scope, kind string) (name string, err error) {
	return parseLast(subject, s.kindEntries(scope, kind))
}

// parseEntryChange returns the name of which an announcement tells, of a kind in a scope.
func (s subjects) parseEntryChange(subject, scope, kind string) (name string, err error) {
	return parseLast(subject, s.kindChanges(scope, kind))
}

func parseLast(subject, pattern string) (name string, err error) {
	last, ok := strings.CutPrefix(subject, strings.TrimSuffix(pattern, "*"))
	if !ok {
		return "", fmt.Errorf("subject %q is not one of %q", subject, pattern)
	}
	if name, err = parseToken(last); err != nil {
		return "", fmt.Errorf("subject %q: name: %w", subject, err)
	}
	return strings.Clone(name), nil
}

// parseNames takes the prefix in parts, so that nothing is allocated for it.
func parseNames(subject string, prefix ...string) (scope, node string, err error) {
	rest := subject
	for _, part := range prefix {
		after, ok := strings.CutPrefix(rest, part)
		if !ok {
			return "", "", fmt.Errorf("subject %q does not start with %q", subject, strings.Join(prefix, ""))
		}
		rest = after
	}
	first, second, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", fmt.Errorf("subject %q names no scope and node", subject)
	}
	if scope, err = parseToken(first); err != nil {
		return "", "", fmt.Errorf("subject %q: scope: %w", subject, err)
	}
	if node, err = parseToken(second); err != nil {
		return "", "", fmt.Errorf("subject %q: node: %w", subject, err)
	}
	return scope, node, nil
}

const upperHex = "0123456789ABCDEF"

// plain says which bytes stand for themselves in a token.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// SubjectToken returns the form of a name that stands in subjects as one token, for subjects of one's own that name a node or a
// scope: letters, digits, - and _ as they are, every other byte as =XX in upper-case hex. No two names have the same one.
func SubjectToken(name string) string {
	special := 0
	for i := range len(name) {
		if !plain(name[i]) {
			special++
		}
	}
	if special == 0 {
		return name
	}
	out := make([]byte, 0, len(name)+2*special)
	for i := range len(name) {
		if c := name[i]; plain(c) {
			out = append(out, c)
		} else {
			out = append(out, '=', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(out)
}

// parseToken is the exact inverse of token: it takes only what token writes.
func parseToken(tok string) (string, error) {
	if asItIs(tok) {
		return tok, nil
	}
	name := tok
	if strings.IndexByte(tok, '=') >= 0 {
		out := make([]byte, 0, len(tok))
		for i := 0; i < len(tok); i++ {
			c := tok[i]
			if c == '=' {
				if i+2 >= len(tok) {
					return "", fmt.Errorf("%w: %q ends within an =XX", ErrBadName, tok)
				}
				hi, lo := strings.IndexByte(upperHex, tok[i+1]), strings.IndexByte(upperHex, tok[i+2])
				if hi < 0 || lo < 0 {
					return "", fmt.Errorf("%w: %q has = without two upper-case hex digits", ErrBadName, tok)
				}
				c = byte(hi<<4 | lo)
				i += 2
			}
			out = append(out, c)
		}
		name = string(out)
	}
	if err := checkName("name", name); err != nil {
		return "", err
	}
	if SubjectToken(name) != tok {
		return "", fmt.Errorf("%w: %q is not how %q is written", ErrBadName, tok, name)
	}
	return name, nil
}

// asItIs says whether a token is a name that is written as it is: nearly all are, and each message has two of them.
func asItIs(tok string) bool {
	for i := range len(tok) {
		if !plain(tok[i]) {
			return false
		}
	}
	return 0 < len(tok) && len(tok) <= maxToken
}

// checkName says what is wrong with the name of a node or a scope.
func checkName(what, name string) error {
	if name == "" {
		return fmt.Errorf("%w: %s is empty", ErrBadName, what)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("%w: %s %q is not UTF-8", ErrBadName, what, clip(name))
	}
	if n := len(SubjectToken(name)); n > maxToken {
		return fmt.Errorf("%w: %s %q takes %d bytes, at most %d", ErrBadName, what, clip(name), n, maxToken)
	}
	return nil
}

// checkBucket says what is wrong with the name of a bucket, which NATS limits to the bytes that need no escape.
func checkBucket(name string) error {
	if err := checkName("bucket", name); err != nil {
		return err
	}
	for i := range len(name) {
		if !plain(name[i]) {
			return fmt.Errorf("%w: bucket %q: only letters, digits, - and _", ErrBadName, name)
		}
	}
	return nil
}

// checkDomain says what is wrong with the name of a domain of JetStream's: NATS takes it as one token.
func checkDomain(name string) error {
	if name == "" || strings.ContainsAny(name, ".*> \t\r\n") || !utf8.ValidString(name) {
		return fmt.Errorf("domain %q: one token of a subject, without wildcards", clip(name))
	}
	return nil
}

// checkPrefix says what is wrong with a prefix of JetStream's API.
func checkPrefix(prefix string) error {
	for token := range strings.SplitSeq(prefix, ".") {
		if checkDomain(token) != nil {
			return fmt.Errorf("API prefix %q: tokens of a subject with dots between them, without wildcards", clip(prefix))
		}
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
