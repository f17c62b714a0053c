package rolebus

import (
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// What every change writes of JSON, without reflection: byte for byte what encoding/json writes of a wireChange.

// printHeader prints the change: what is announced.
func printHeader(fleet string, c change) []byte {
	out := make([]byte, 0, 192)
	out = append(out, `{"format":`...)
	out = strconv.AppendInt(out, wireFormat, 10)
	out = append(out, `,"fleet":`...)
	out = printText(out, fleet)
	out = printLife(out, c.id)
	switch c.kind {
	case kindState:
		out = printState(out, c)
	case kindDelta:
		out = append(out, `,"base":`...)
		out = strconv.AppendUint(out, c.base, 10)
		if len(c.added) > 0 {
			out = append(out, `,"added":`...)
			out = printRoles(out, c.added)
		}
		if len(c.removed) > 0 {
			out = append(out, `,"removed":`...)
			out = printRoles(out, c.removed)
		}
	case kindLeft, kindExpired:
		out = printGone(out, c)
	}
	return append(out, '}')
}

// printBody prints the whole state.
func printBody(scope string, c change) []byte {
	out := make([]byte, 0, 256)
	out = append(out, `{"format":`...)
	out = strconv.AppendInt(out, wireFormat, 10)
	out = append(out, `,"scope":`...)
	out = printText(out, scope)
	out = append(out, `,"node":`...)
	out = printText(out, c.node)
	out = printLife(out, c.id)
	if c.kind.isTombstone() {
		out = printGone(out, c)
	} else {
		out = printState(out, c)
	}
	return append(out, '}')
}

func printLife(out []byte, id life) []byte {
	out = append(out, `,"incarnation":`...)
	out = strconv.AppendUint(out, id.incarnation, 10)
	out = append(out, `,"version":`...)
	return strconv.AppendUint(out, id.version, 10)
}

func printState(out []byte, c change) []byte {
	out = append(out, `,"ttl":`...)
	out = strconv.AppendInt(out, c.ttl.Milliseconds(), 10)
	out = append(out, `,"roles":`...)
	out = printRoles(out, c.roles)
	if len(c.meta) > 0 {
		out = append(out, `,"meta":`...)
		out = printMeta(out, c.meta)
	}
	return out
}

func printGone(out []byte, c change) []byte {
	out = append(out, `,"gone":`...)
	out = printText(out, c.kind.String())
	if c.kind == kindExpired {
		out = append(out, `,"due":`...)
		out = strconv.AppendInt(out, c.due.UnixMilli(), 10)
	}
	return out
}

func printRoles(out []byte, roles []Role) []byte {
	out = append(out, '[')
	for i, role := range roles {
		if i > 0 {
			out = append(out, ',')
		}
		out = printText(out, string(role))
	}
	return append(out, ']')
}

func printMeta(out []byte, meta map[string]string) []byte {
	out = append(out, '{')
	for i, key := range slices.Sorted(maps.Keys(meta)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(printText(out, key), ':')
		out = printText(out, meta[key])
	}
	return append(out, '}')
}

func printText(out []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return append(out, encodeText(text)...)
		}
	}
	out = append(out, '"')
	out = append(out, text...)
	return append(out, '"')
}

// encodeText leaves to encoding/json what must be escaped. It refuses no text.
func encodeText(text string) []byte {
	raw, err := marshalJSON(text)
	if err != nil {
		panic(err)
	}
	return raw
}
