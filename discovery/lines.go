package discovery

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rolebus/rolebus"
)

// lines reads the addresses in a file's text. Unless it is whole, a last line that does not end is left out.
func (o *options) lines(path, text string, whole bool) answer {
	source := "file " + path
	wrong := func(err error, mend string) answer {
		return answer{err: &Failure{Source: source, Reason: ReasonMalformed, Mend: mend, Err: err}}
	}
	if len(text) >= 2 && strings.Contains(utf16Marks, text[:2]) {
		return wrong(errors.New("it is UTF-16"), "save it as UTF-8")
	}
	text = strings.TrimPrefix(text, byteOrderMark)
	if !whole {
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		return wrong(errors.New("it is no text"), "is it the right file? one address a line")
	}
	var list []Address
	var mistakes []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		whole := line
		if line = bare(line); line == "" {
			continue
		}
		if cutPassword(whole) {
			line = whole // which is refused, and not shown
		}
		a, err := rolebus.ParseAddress(line)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("line %d: %w", number, err))
			continue
		}
		list = append(list, o.complete(a))
	}
	switch {
	case len(mistakes) > 0:
		a := wrong(few(mistakes), "mend the line: until then what the file no longer lists stays")
		a.addresses = list
		return a
	case len(list) == 0 && whole:
		return answer{err: empty(source, "write addresses into it, one a line")}
	}
	return answer{addresses: list}
}

// cutPassword says whether what looks like a comment may be the rest of a password.
func cutPassword(line string) bool {
	before, after, _ := strings.Cut(line, "#")
	return strings.Contains(after, "@") && before != "" && before == strings.TrimRight(before, " \t")
}

// bare takes away from a line what is around its address.
func bare(line string) string {
	line, _, _ = strings.Cut(line, "#")
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "%") {
		return ""
	}
	if inner, ok := strings.CutSuffix(line, "'."); ok && strings.HasPrefix(inner, "'") {
		return strings.TrimSpace(inner[1:])
	}
	return line
}
