package call

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// FuzzReadAnswer reads answers of any form: an output, or an error that says something, and is not of any length.
func FuzzReadAnswer(f *testing.F) {
	for say := range verdicts {
		f.Add(say, "", "", "", []byte("text"))
	}
	f.Add(sayFailed, "", "mine", "text", []byte(nil))
	f.Add("", "application/protobuf", "", "", []byte("{}"))
	f.Add("", "", "500", "of a service of NATS", []byte(nil))
	f.Add("later", "\xff", "\x00", "\r\n", []byte{0xff})
	f.Fuzz(func(t *testing.T, say, kind, code, text string, data []byte) {
		msg := &nats.Msg{Header: nats.Header{}, Data: data}
		for key, value := range map[string]string{headerCall: say, headerType: kind, headerErrorCode: code, headerErrorText: text} {
			if value != "" {
				msg.Header[key] = []string{value}
			}
		}
		ran, err := readAnswer(msg, "work", typeJSON, "n", 7)
		if err == nil {
			require.Equal(t, RanYes, ran)
			require.Empty(t, say)
			require.Empty(t, code+text)
			return
		}
		require.LessOrEqual(t, len(err.Error()), maxText+1024)
		require.True(t, utf8.ValidString(err.Error()))
		var remote *RemoteError
		named := errors.As(err, &remote) || errors.Is(err, ErrContentType) || errors.Is(err, ErrDecode)
		if named && remote != nil {
			require.Equal(t, RanYes, ran)
			require.NotEmpty(t, remote.Code)
		}
		if v, known := verdicts[say]; known {
			require.Equal(t, v.ran, ran)
			require.ErrorIs(t, err, v.err)
			named = true
		}
		require.True(t, named, "%v", err)
	})
}

// FuzzTimeout reads timeouts of any form: one that is refused, or one that is written as it was.
func FuzzTimeout(f *testing.F) {
	for _, text := range []string{"", "0", "-1", "1", "007", "5000", "86400000", "86400001", "9223372036854775808", "1e3", "+1", " 1", "1_000", "٣"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseTimeout(text)
		if err != nil {
			require.Zero(t, d)
			require.LessOrEqual(t, len(err.Error()), 1024)
			return
		}
		require.GreaterOrEqual(t, d, time.Millisecond)
		require.LessOrEqual(t, d, maxTimeout)
		again, err := parseTimeout(formatTimeout(d))
		require.NoError(t, err)
		require.Equal(t, d, again)
		require.Empty(t, strings.Trim(text, "0123456789"), "nothing but digits")
	})
}

// FuzzRefusal has an error of any text come to the caller as it was, as far as there is room.
func FuzzRefusal(f *testing.F) {
	f.Add("text", "mine")
	f.Add("two\nlines", "")
	f.Add(strings.Repeat("ä", maxText), "x")
	f.Add("\xff", "x")
	f.Fuzz(func(t *testing.T, text, code string) {
		code = codeOf(Error(code, text))
		msg := refusal(sayFailed, code, text)
		line := msg.Header.Get(headerErrorText)
		require.NotEmpty(t, line)
		require.Equal(t, -1, strings.IndexAny(line, "\r\n\x00"))
		ran, err := readAnswer(&msg, "work", typeJSON, "n", 7)
		require.Equal(t, RanYes, ran)
		var remote *RemoteError
		require.ErrorAs(t, err, &remote)
		require.Equal(t, code, remote.Code)
		if text != "" && len(text) <= maxText && utf8.ValidString(text) {
			require.Equal(t, text, remote.Message)
		}
	})
}
