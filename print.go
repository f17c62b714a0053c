package rolebus

import (
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// What every change writes of JSON, without reflection: byte for byte what encoding/json writes.

func printRecord(scope string, c change) []byte {
	out := make([]byte, 0, 192)
	out = append(out, `{"format":`...)
	out = strconv.AppendInt(out, wireFormat, 10)
	out = append(out, `,"scope":`...)
	out = printText(out, scope)
	out = append(out, `,"node":`...)
	out = printText(out, c.node)
	out = append(out, `,"incarnation":`...)
	out = strconv.AppendUint(out, c.id.incarnation, 10)
	out = append(out, `,"version":`...)
	out = strconv.AppendUint(out, c.id.version, 10)
	if c.kind.isTombstone() {
		out = append(out, `,"gone":`...)
		return append(printText(out, c.kind.String()), '}')
	}
	out = append(out, `,"roles":`...)
	out = printRoles(out, c.roles)
	if len(c.meta) > 0 {
		out = append(out, `,"meta":`...)
		out = printMeta(out, c.meta)
	}
	return append(out, '}')
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
