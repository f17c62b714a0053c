package rolebus

import (
	"math"
	"strings"
	"unicode/utf8"
)

// scanner reads JSON as this package itself writes it: no spaces, no escapes, a fixed order, nothing unknown. That is nearly
// all that there is to read in a fleet, and takes a fraction of what encoding/json takes. It gives up on anything else, for
// encoding/json to read or to refuse.
type scanner struct {
	text string
	lost bool // it gave up
}

// skip says whether a text comes next, and goes past it.
func (s *scanner) skip(text string) bool {
	rest, found := strings.CutPrefix(s.text, text)
	s.text = rest
	return found
}

func (s *scanner) expect(text string) {
	if !s.skip(text) {
		s.lost = true
	}
}

func (s *scanner) number() (n uint64) {
	digits := 0
	for digits < len(s.text) && '0' <= s.text[digits] && s.text[digits] <= '9' {
		d := uint64(s.text[digits] - '0')
		if n > (math.MaxUint64-d)/10 {
			s.lost = true
			return 0
		}
		n, digits = 10*n+d, digits+1
	}
	if digits == 0 || digits > 1 && s.text[0] == '0' {
		s.lost = true
	}
	s.text = s.text[digits:]
	return n
}

// positive reads a number where none is another thing than 0.
func (s *scanner) positive() uint64 {
	n := s.number()
	s.lost = s.lost || n == 0
	return n
}

func (s *scanner) string() string {
	s.expect(`"`)
	for i := range len(s.text) {
		switch c := s.text[i]; {
		case c == '"':
			text := s.text[:i]
			s.text = s.text[i+1:]
			return text
		case c < ' ' || c == '\\' || c >= utf8.RuneSelf:
			s.lost = true
			return ""
		}
	}
	s.lost = true
	return ""
}

// list calls item for each of the items between two brackets.
func (s *scanner) list(from, to string, item func()) {
	s.expect(from)
	if s.skip(to) {
		return
	}
	for !s.lost {
		item()
		if s.skip(to) {
			return
		}
		s.expect(",")
	}
}

func (s *scanner) roles() []Role {
	roles := make([]Role, 0, 1+strings.Count(s.text, `","`))
	s.list("[", "]", func() { roles = append(roles, Role(s.string())) })
	return roles
}

func (s *scanner) meta() map[string]string {
	meta := map[string]string{}
	s.list("{", "}", func() {
		key := s.string()
		s.expect(":")
		meta[key] = s.string()
	})
	return meta
}

// scanWire reads a header or a body, if it can.
func scanWire(text string) (w wireChange, ok bool) {
	s := &scanner{text: text}
	s.expect(`{"format":`)
	w.Format = s.number()
	if s.skip(`,"fleet":`) {
		w.Fleet = s.string()
	}
	if s.skip(`,"scope":`) {
		w.Scope = s.string()
	}
	if s.skip(`,"node":`) {
		w.Node = s.string()
	}
	s.expect(`,"incarnation":`)
	w.Incarnation = s.number()
	s.expect(`,"version":`)
	w.Version = s.number()
	if s.skip(`,"ttl":`) {
		w.TTL = s.positive()
	}
	if s.skip(`,"base":`) {
		w.Base = s.positive()
	}
	if s.skip(`,"added":`) {
		w.Added = s.roles()
	}
	if s.skip(`,"removed":`) {
		w.Removed = s.roles()
	}
	if s.skip(`,"roles":`) {
		w.Roles = s.roles()
	}
	if s.skip(`,"meta":`) {
		w.Meta = s.meta()
	}
	if s.skip(`,"gone":`) {
		if w.Gone = s.string(); w.Gone == "" {
			s.lost = true
		}
	}
	if s.skip(`,"due":`) {
		w.Due = s.positive()
	}
	s.expect("}")
	return w, !s.lost && s.text == ""
}

// scanDisconnect reads a server's message about a connection, if it is written as servers write it. Each process gets one
// for each that ends.
func scanDisconnect(text string) (wire wireDisconnect, ok bool) {
	_, server, hasServer := strings.Cut(text, `"server":{`)
	_, client, hasClient := strings.Cut(server, `"client":{`)
	server, _, _ = strings.Cut(server, "}")
	_, id, hasID := strings.Cut(server, `"id":`)
	client, rest, _ := strings.Cut(client, "}")
	_, name, hasName := strings.Cut(client, `"name":`)
	_, reason, hasReason := strings.Cut(rest, `"reason":`)
	if !hasServer || !hasClient || !hasID || !hasName || !hasReason || strings.ContainsAny(client, `{\`) {
		return wire, false
	}
	for _, part := range []struct {
		text string
		into *string
	}{{id, &wire.Server.ID}, {name, &wire.Client.Name}, {reason, &wire.Reason}} {
		s := &scanner{text: part.text}
		*part.into = s.string()
		if s.lost {
			return wire, false
		}
	}
	return wire, true
}
