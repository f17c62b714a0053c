package embedded

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hidden stands where a secret was, as in a URL that net/url redacts.
const hidden = "xxxxx"

// secrets hides what a log must not show: by its form, and these very texts in whatever form they are written. nats-server hides most by
// itself, but not in the routes that a reload removes, not in a snippet of what a stranger sent, and not behind a quote or a comma in a
// password. The zero value knows forms only. What it has is never changed, so it may be read by many at once.
type secrets struct {
	long  *strings.Replacer // anywhere
	short []string          // only where they stand alone: of texts with "a" in it nothing would be left
}

const longSecret = 6

func newSecrets(texts []string) *secrets {
	var all []string
	for _, text := range texts {
		all = append(all, written(text)...)
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) }) // what another one is a part of goes first
	s := &secrets{}
	var pairs []string
	for _, text := range slices.Compact(all) {
		switch {
		case len(text) >= longSecret:
			pairs = append(pairs, text, hidden)
		case text != "":
			s.short = append(s.short, text)
		}
	}
	s.long = strings.NewReplacer(pairs...)
	return s
}

// written is how a text is written: as it is, in JSON, quoted by Go, and in URLs.
func written(text string) []string {
	all := []string{text, url.User(text).String(), url.QueryEscape(text), url.PathEscape(text)}
	quoted := strconv.Quote(text)
	all = append(all, quoted[1:len(quoted)-1])
	if inJSON, err := json.Marshal(text); err == nil {
		all = append(all, string(inJSON[1:len(inJSON)-1]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

var (
	aJWT  = regexp.MustCompile(`eyJ[\w-]{8,}(\.[\w-]*)*`)
	aSeed = regexp.MustCompile(`\bS[UOANCXP][A-Z2-7]{56}\b`)
	// A name of a secret with what comes before its value, in JSON, also in JSON that is quoted again, and in plain words.
	aName = regexp.MustCompile(`(?i)(?:"\w*(?:pass|password|passwd|token|jwt|sig|seed|secret)\\*"|\b(?:pass|password|passwd|auth_token))\s*[:=]\s*`)
	// A line of the trace with the options of who connects. Where nats-server has hidden only a part of a password in them, they are no JSON.
	aConnect = regexp.MustCompile(`(?s)(\[CONNECT )(\{.*)(\])`)
)

// redact is a text without secrets. Forms go first: one that has lost its scheme or the name of its field to a secret would not be known again.
func (s *secrets) redact(text string) string {
	if at := aConnect.FindStringSubmatchIndex(text); at != nil && !json.Valid([]byte(text[at[4]:at[5]])) {
		text = text[:at[4]] + hidden + text[at[5]:]
	}
	text = withoutNamed(withoutUserinfo(text))
	text = aJWT.ReplaceAllLiteralString(text, hidden)
	text = aSeed.ReplaceAllLiteralString(text, hidden)
	if s.long != nil {
		text = s.long.Replace(text)
	}
	for _, short := range s.short {
		text = withoutWord(text, short)
	}
	return text
}

// withoutUserinfo hides in each URL what is after the user's name, or a name that stands alone, as a token does. A URL that
// net/url has not escaped may have any character in it but a space or a quote: so the last @ counts.
func withoutUserinfo(text string) string {
	var b strings.Builder
	for {
		_, after, found := strings.Cut(text, "://")
		if !found {
			break
		}
		b.WriteString(text[:len(text)-len(after)])
		end := strings.IndexFunc(after, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("\"'`<>", r) })
		if end < 0 {
			end = len(after)
		}
		if next := strings.Index(after[:end], "://"); next >= 0 {
			end = next
		}
		if at := strings.LastIndexByte(after[:end], '@'); at >= 0 {
			if user, _, both := strings.Cut(after[:at], ":"); both {
				b.WriteString(user + ":")
			}
			b.WriteString(hidden)
			after = after[at:]
		}
		text = after
	}
	b.WriteString(text)
	return b.String()
}

// withoutNamed hides the values of fields that have a secret's name. What is not closed is hidden to the end of the text.
func withoutNamed(text string) string {
	var b strings.Builder
	for {
		at := aName.FindStringIndex(text)
		if at == nil {
			break
		}
		b.WriteString(text[:at[1]])
		text = text[at[1]:]
		open := text[:len(text)-len(strings.TrimLeft(text, `\`))]
		if strings.HasPrefix(text[len(open):], `"`) {
			open += `"`
			text = text[len(open):]
			b.WriteString(open)
			text = text[closing(text, len(open)-1):]
		} else if end := strings.IndexAny(text, " \t\r\n,}])\"'"); end >= 0 {
			text = text[end:]
		} else {
			text = ""
		}
		b.WriteString(hidden)
	}
	b.WriteString(text)
	return b.String()
}

// closing is where a text ends that was opened by a quote after so many backslashes: at a quote with no more of them.
func closing(text string, backslashes int) int {
	run := 0
	for i := range len(text) {
		switch {
		case text[i] == '\\':
			run++
			continue
		case text[i] == '"' && run <= backslashes:
			return i - run
		}
		run = 0
	}
	return len(text)
}

// withoutWord hides a word wherever no letter or digit is beside it.
func withoutWord(text, word string) string {
	var b strings.Builder
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			b.WriteString(text[from:])
			return b.String()
		}
		i += from
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(word):])
		if partOfWord(before) || partOfWord(after) {
			_, size := utf8.DecodeRuneInString(text[i:])
			b.WriteString(text[from : i+size])
			from = i + size
			continue
		}
		b.WriteString(text[from:i] + hidden)
		from = i + len(word)
	}
}

func partOfWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
