package call

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The form on the wire, which docs/PROTOCOL.md describes. A header stands only where something is to be said.
const (
	kindOfSubject = "call" // see [rolebus.Scope.Address]

	headerCall    = "Rolebus-Call"    // of a request: callCancel; of an answer: which one it is, if it is not the output
	headerTimeout = "Rolebus-Timeout" // for how long the caller waits, in milliseconds
	headerWithin  = "Rolebus-Within"  // the reply subject of the call within which, in the end, this one is made
	headerType    = "Content-Type"

	// As ADR-32 of NATS has them, for clients that know no more.
	headerErrorCode = "Nats-Service-Error-Code"
	headerErrorText = "Nats-Service-Error"

	callCancel = "cancel"

	defaultTimeout = 5 * time.Second // without a header
	maxTimeout     = 24 * time.Hour

	// maxText is the most that is told of an error, in bytes, and maxTextLine what a header says of it.
	maxText     = 16 << 10
	maxTextLine = 512
)

// Kinds of answers that are no output.
const (
	sayFailed      = "failed"
	sayBusy        = "busy"
	sayDraining    = "draining"
	sayDecode      = "decode"
	sayContentType = "content-type"
	sayEncode      = "encode"
	sayTooLarge    = "too-large"
	sayTimeout     = "timeout"
	sayCanceled    = "canceled"
)

// verdicts are what a caller makes of an answer that is no output.
var verdicts = map[string]struct {
	err error
	ran Ran
}{
	sayBusy:        {ErrBusy, RanNo},
	sayDraining:    {ErrDraining, RanNo},
	sayDecode:      {ErrDecode, RanNo},
	sayContentType: {ErrContentType, RanNo},
	sayEncode:      {ErrEncode, RanYes},
	sayTooLarge:    {ErrTooLarge, RanYes},
	sayTimeout:     {ErrTimeout, RanMaybe},
	sayCanceled:    {ErrUnreachable, RanMaybe},
}

// parseTimeout reads for how long the caller waits.
func parseTimeout(text string) (time.Duration, error) {
	if text == "" {
		return defaultTimeout, nil
	}
	ms, err := strconv.ParseUint(text, 10, 63)
	if err != nil || ms == 0 || ms > uint64(maxTimeout/time.Millisecond) {
		return 0, fmt.Errorf("%s %q: milliseconds from 1 to %d", headerTimeout, clip(text), maxTimeout/time.Millisecond)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// formatTimeout is "" where nothing need be said.
func formatTimeout(d time.Duration) string {
	ms := max(1, (d+time.Millisecond-1)/time.Millisecond)
	if ms == defaultTimeout/time.Millisecond {
		return ""
	}
	return strconv.FormatInt(int64(ms), 10)
}

// sameType says whether a message is in an encoding. Parameters, such as a charset, and case do not count.
func sameType(header, want string) bool {
	if header == "" {
		header = typeJSON
	}
	if header == want {
		return true
	}
	return strings.EqualFold(bareType(header), bareType(want))
}

// bareType is a content type without its parameters.
func bareType(kind string) string {
	bare, _, _ := strings.Cut(kind, ";")
	return strings.TrimSpace(bare)
}

// typeHeader tells an encoding, if it is not the one that goes without saying.
func typeHeader(kind string) nats.Header {
	if kind == typeJSON {
		return nil
	}
	return nats.Header{headerType: {kind}}
}

// refusal is an answer that is no output.
func refusal(say, code, text string) nats.Msg {
	text = cut(strings.ToValidUTF8(text, "\uFFFD"), maxText)
	return nats.Msg{
		Header: nats.Header{
			headerCall:      {say},
			headerErrorCode: {code},
			headerErrorText: {cut(line(cmp.Or(text, say)), maxTextLine)},
		},
		Data: []byte(text),
	}
}

// line makes text fit a header, which is one line.
func line(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if text = strings.TrimSpace(text); text == "" {
		return "error"
	}
	return text
}

// cut shortens text to so many bytes, at the beginning of a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && text[most]&0xC0 == 0x80 {
		most--
	}
	return text[:most]
}

// noResponders says whether a message is the server's word that nobody listens.
func noResponders(msg *nats.Msg) bool {
	return len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
}

// readAnswer says what an answer means for the caller. The error is nil if its data is the output.
func readAnswer(msg *nats.Msg, method, contentType string, node string, incarnation uint64) (Ran, error) {
	if len(msg.Header) == 0 {
		return RanYes, readType("", contentType)
	}
	say := msg.Header.Get(headerCall)
	if say == "" {
		if msg.Header.Get(headerErrorCode) != "" || msg.Header.Get(headerErrorText) != "" {
			say = sayFailed // of a callee that knows ADR-32 only
		} else {
			return RanYes, readType(msg.Header.Get(headerType), contentType)
		}
	}
	text := string(msg.Data)
	if line := msg.Header.Get(headerErrorText); text == "" && line != say { // which stands there if there is nothing to tell
		text = line
	}
	text = cut(strings.ToValidUTF8(text, "\uFFFD"), maxText)
	if say == sayFailed {
		code := validCode(msg.Header.Get(headerErrorCode))
		return RanYes, &RemoteError{Node: node, Incarnation: incarnation, Method: method, Code: code, Message: text}
	}
	v, known := verdicts[say]
	if !known {
		return RanMaybe, because(ErrDecode, "an answer of kind %q", clip(say))
	}
	if text == "" {
		return v.ran, v.err
	}
	return v.ran, fmt.Errorf("%w: %w", v.err, errors.New(text))
}

func readType(header, want string) error {
	if header == "" || sameType(header, want) { // without one it is that of the request
		return nil
	}
	return because(ErrContentType, "the answer is %q, not %q", clip(header), want)
}
