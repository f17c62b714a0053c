package rolebus

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestTokens(t *testing.T) {
	for _, tc := range []struct{ name, token string }{
		{"api-1", "api-1"},
		{"azAZ09-_", "azAZ09-_"},
		{"`{@[/:^,", "=60=7B=40=5B=2F=3A=5E=2C"}, // the neighbours of those in ASCII
		{"api-1.prod@eu", "api-1=2Eprod=40eu"},
		{"=", "=3D"},
		{"=2E", "=3D2E"},
		{".", "=2E"},
		{"*", "=2A"},
		{">", "=3E"},
		{"$SYS", "=24SYS"},
		{" ", "=20"},
		{"\x00\r\n\t\x7f", "=00=0D=0A=09=7F"},
		{"a/b", "a=2Fb"},
		{"ä", "=C3=A4"},
		{"\ufffd", "=EF=BF=BD"},
	} {
		require.Equal(t, tc.token, SubjectToken(tc.name))
		name, err := parseToken(tc.token)
		require.NoError(t, err, tc.token)
		require.Equal(t, tc.name, name)
	}
}

func TestParseTokenTakesOnlyWhatTokenWrites(t *testing.T) {
	for _, tok := range []string{
		"", ".", "*", ">", " ", "a.b", "a*", "ä", "a b", "a\n", "$", "/",
		"=", "=4", "a=", "a=4", "==", "=3d", "=3D=", "=G0", "=0G", "=41", "=2D", "=5F", "=2e", "= 2E",
		"=FF", "=C3", "=ED=A0=80", // not UTF-8
		strings.Repeat("a", maxToken+1), strings.Repeat("=2E", maxToken/3+1),
	} {
		name, err := parseToken(tok)
		require.ErrorIs(t, err, ErrBadName, "%q was read as %q", tok, name)
		require.Empty(t, name)
	}
}

func TestNameLimits(t *testing.T) {
	for _, tc := range []struct {
		why  string
		name string
		ok   bool
	}{
		{"as long as can be", strings.Repeat("a", maxToken), true},
		{"one byte more", strings.Repeat("a", maxToken+1), false},
		{"a dot takes three bytes", strings.Repeat("a", maxToken-3) + ".", true},
		{"and makes this too long", strings.Repeat("a", maxToken-2) + ".", false},
		{"two bytes that take three each", strings.Repeat("a", maxToken-6) + "ä", true},
		{"and make this too long", strings.Repeat("a", maxToken-5) + "ä", false},
		{"empty", "", false},
		{"not UTF-8", "a\xff", false},
		{"one byte", "a", true},
	} {
		err := checkName("node", tc.name)
		if tc.ok {
			require.NoError(t, err, tc.why)
		} else {
			require.ErrorIs(t, err, ErrBadName, tc.why)
			require.ErrorContains(t, err, "node", tc.why)
		}
	}
	for _, bucket := range []string{"", "a.b", "a b", "ä", "a=2E", "$KV", "*", strings.Repeat("a", maxToken+1), "\xff"} {
		require.ErrorIs(t, checkBucket(bucket), ErrBadName, bucket)
	}
	require.NoError(t, checkBucket("Fleet_1-eu"))
}

func TestLongTextIsClipped(t *testing.T) {
	fits := strings.Repeat("a", 64)
	require.Equal(t, fits, clip(fits))
	require.Equal(t, fits+"...", clip(fits+"b"))
}

func TestSubjects(t *testing.T) {
	s := subjects{bucket: "fleet"}
	for got, want := range map[string]string{
		s.stream():                 "KV_fleet",
		s.records():                "$KV.fleet.>",
		s.leases():                 "$KV.fleet=lease.>",
		s.changes():                "fleet.changes.>",
		s.record("eu.1", "api-1"):  "$KV.fleet.eu=2E1.api-1",
		s.lease("eu.1", "api>1"):   "$KV.fleet=lease.eu=2E1.api=3E1",
		s.scopeRecords("eu.1"):     "$KV.fleet.eu=2E1.*",
		s.scopeChanges("eu.1"):     "fleet.changes.eu=2E1.*",
		s.scopeRecords("*"):        "$KV.fleet.=2A.*",
		s.record("default", "*.>"): "$KV.fleet.default.=2A=2E=3E",
	} {
		require.Equal(t, want, got)
	}
}

func TestSubjectsAreReadBack(t *testing.T) {
	s := subjects{bucket: "fleet"}
	for _, scope := range []string{"default", "eu.1", "*", ">"} {
		for _, node := range []string{"api-1", "a.b", "ä ö", "="} {
			gotScope, gotNode, err := s.parseRecord(s.record(scope, node))
			require.NoError(t, err)
			require.Equal(t, [2]string{scope, node}, [2]string{gotScope, gotNode})

			announced := strings.Replace(s.record(scope, node), "$KV.fleet.", "fleet.changes.", 1) // as the server republishes
			gotScope, gotNode, err = s.parseChange(announced)
			require.NoError(t, err)
			require.Equal(t, [2]string{scope, node}, [2]string{gotScope, gotNode})
		}
	}
	for _, names := range []string{
		"", ".", "a", "a.", ".a", "a..b", "a.b.c", "a.b.", ".a.b", "*.a", "a.*", "a.>", ">", "a.=41", "=.a", "a b.c", "a.\xff",
		"a." + strings.Repeat("b", maxToken+1),
	} {
		_, _, err := s.parseRecord("$KV.fleet." + names)
		require.Error(t, err, "record %q", names)
		_, _, err = s.parseChange("fleet.changes." + names)
		require.Error(t, err, "change %q", names)
	}
	for _, foreign := range []string{
		"", "a.b", "$KV.fleet", "$KV.other.a.b", "$KV.fleet2.a.b", "x.$KV.fleet.a.b", "fleet.changes.a.b", "$kv.fleet.a.b",
	} {
		_, _, err := s.parseRecord(foreign)
		require.ErrorContains(t, err, "does not start with", foreign)
	}
	for _, foreign := range []string{"", "fleet.changes", "other.changes.a.b", "fleet.lease.a.b", "$KV.fleet.a.b"} {
		_, _, err := s.parseChange(foreign)
		require.ErrorContains(t, err, "does not start with", foreign)
	}
}

var (
	oneToken = regexp.MustCompile(`^[-_=a-zA-Z0-9]{1,200}$`)
	kvKey    = regexp.MustCompile(`^[-/_=.a-zA-Z0-9]+$`) // what NATS takes as a key
)

func FuzzName(f *testing.F) {
	for _, name := range []string{
		"", "api-1", "a.b", "*", ">", "$SYS", "=2E", "=2e", "=41", "a=", " ", "\r\n", "\x00", "ä", "\xff",
		strings.Repeat("a", 200), strings.Repeat(".", 67),
	} {
		f.Add(name)
	}
	s := subjects{bucket: "fleet"}
	f.Fuzz(func(t *testing.T, text string) {
		// As a token that came in.
		if name, err := parseToken(text); err == nil {
			require.Equal(t, text, SubjectToken(name))
			require.NoError(t, checkName("name", name))
		} else {
			require.ErrorIs(t, err, ErrBadName)
			require.Empty(t, name)
		}

		// As a name that goes out.
		written := SubjectToken(text)
		if err := checkName("name", text); err != nil {
			require.ErrorIs(t, err, ErrBadName)
			require.True(t, text == "" || len(written) > maxToken || !utf8.ValidString(text), "refused: %q", text)
			_, err := parseToken(written)
			require.ErrorIs(t, err, ErrBadName, "what may not go out may not come in")
			return
		}
		require.Regexp(t, oneToken, written)
		require.Regexp(t, kvKey, written+"."+written)
		name, err := parseToken(written)
		require.NoError(t, err)
		require.Equal(t, text, name)

		record := s.record(text, text)
		require.Equal(t, 3, strings.Count(record, "."), "a name is one token")
		scope, node, err := s.parseRecord(record)
		require.NoError(t, err)
		require.Equal(t, [2]string{text, text}, [2]string{scope, node})
	})
}

// A server of the domain looks at the rights when it has made its own subject of what was asked.
func TestWhatAServerOfADomainRefuses(t *testing.T) {
	for asked, named := range map[string]string{
		"$JS.hub.API.STREAM.INFO.KV_r":                "$JS.API.STREAM.INFO.KV_r",
		"$JS.hub.API.DIRECT.GET.KV_r.$KV.r.default.*": "$JS.API.DIRECT.GET.KV_r.$KV.r.default.*",
		"$JS.hub.API.$KV.r.default.a":                 "$KV.r.default.a",
		"$JS.hub.API.$KV.r=lease.API.a":               "$KV.r=lease.API.a",
		"$JS.API.STREAM.INFO.KV_r":                    "$JS.API.STREAM.INFO.KV_r",
		"$JS.API.DIRECT.GET.KV_r.$KV.r.API.*":         "$JS.API.DIRECT.GET.KV_r.$KV.r.API.*",
		"$KV.r.API.a":                                 "$KV.r.API.a",
		"r.changes.API.*":                             "r.changes.API.*",
		"imported.API.STREAM.INFO.KV_r":               "imported.API.STREAM.INFO.KV_r",
	} {
		require.Equal(t, named, atItsServer(asked))
	}
}
