package certs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/certs"
)

const (
	one   = "first-secret-0123456789"
	two   = "second secret # 0123456789"
	three = "dritte Parole, mit ümläut"
)

func TestSecretsOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	sixteen, all := "", []string{}
	for i := range 16 {
		all = append(all, fmt.Sprintf("secret-number-%02d", i))
		sixteen += all[i] + "\n"
	}
	for text, want := range map[string][]string{
		one:                                      {one},
		one + "\n":                               {one},
		one + "\r\n" + two + "\t \r\n":           {one, two},
		"# first\n\n  \n" + one + "\n  # " + two: {one},
		"\xef\xbb\xbf" + three + "\n" + one:      {three, one},
		one + "\n" + one + "\n" + two:            {one, two},
		"0123456789abcdef":                       {"0123456789abcdef"},
		sixteen + all[3] + "\n":                  all,
	} {
		write(t, path, text)
		s, err := certs.Secrets(path, nil)
		require.NoError(t, err, "%q", text)
		require.Equal(t, want, s.Secrets(), "%q", text)
	}
	for text, told := range map[string]string{
		"":                                      "it has no secret in it (put one there",
		"# " + one + "\n\n":                     "it has no secret in it",
		one + "\n0123456789abcde\n":             "the secret in line 2 is too short: 15 bytes of at least 16 (openssl rand",
		one + "\n" + strings.Repeat("\x00", 20): "line 2 is no text",
		strings.Repeat("\xff\xfe", 20):          "line 1 is no text",
		sixteen + one:                           "more than 16 secrets (remove those",
		strings.Repeat("#\n", 32<<10) + one:     "too large: more than 64 KiB",
	} {
		write(t, path, text)
		_, err := certs.Secrets(path, nil)
		require.ErrorContains(t, err, "file "+path+": ")
		require.ErrorContains(t, err, told)
		require.NotContains(t, err.Error(), one)
		require.NotContains(t, err.Error(), "0123456789abcde")
	}
	_, err := certs.Secrets(filepath.Dir(path), nil)
	require.ErrorContains(t, err, "no regular file but a directory (put a regular file there")
	_, err = certs.Secrets(path+"-none", nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "(create it")
}

// Whatever becomes of the file, who could be understood before still is; and nothing secret is logged.
func TestSecretsStay(t *testing.T) {
	path, log := filepath.Join(t.TempDir(), "secrets"), &lines{}
	write(t, path, one+"\n")
	s, err := certs.Secrets(path, log.logger())
	require.NoError(t, err)
	s.Pace(0, 0)
	for _, bad := range []struct {
		change func()
		told   string
	}{
		{func() { os.Remove(path) }, "file does not exist"},
		{func() { write(t, path, "") }, "it has no secret in it"},
		{func() { write(t, path, two+"\nshort\n") }, "too short"},
		{func() { os.Remove(path); os.Mkdir(path, 0o700) }, "a directory"},
	} {
		bad.change()
		for range 3 {
			require.Equal(t, []string{one}, s.Secrets())
		}
		require.ErrorContains(t, s.Look(), bad.told)
		require.Equal(t, 1, log.count("level=WARN", bad.told), log)
	}
	require.NoError(t, os.Remove(path))
	write(t, path, one+"\n"+two+"\n")
	require.Equal(t, []string{one, two}, s.Secrets())
	require.Equal(t, 1, log.count("nothing is wrong with the files any more"), log)
	require.Equal(t, 1, log.count("secrets replaced", `spoken="the same"`, "secrets=2"), log)
	write(t, path, "# no news\n"+one+"\n"+two+"\n")
	require.Equal(t, []string{one, two}, s.Secrets())
	write(t, path, two+"\n"+one+"\n")
	require.Equal(t, []string{two, one}, s.Secrets())
	require.Equal(t, 1, log.count("secrets replaced", `spoken="another one"`), log)
	require.Equal(t, 2, log.count("secrets replaced"), log)

	// Who can read them all may, but is told.
	require.NoError(t, os.Chmod(path, 0o644))
	require.ErrorContains(t, s.Look(), "every user of this machine may read it")
	write(t, path, two+"\n")
	require.Equal(t, []string{two}, s.Secrets())
	require.Equal(t, 1, log.count("level=WARN", "every user of this machine may read it"), log)
	for _, secret := range []string{one, two, "short\n"} {
		require.NotContains(t, log.String(), secret)
	}

	s.Pace(time.Hour, 0)
	s.Secrets()
	s.Secrets()[0] = "mine" // is the caller's own
	require.Equal(t, []string{two}, s.Secrets())
}

// Who asks at once gets one of the sets that were there, whole.
func TestSecretsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	write(t, path, one+"\n")
	s, err := certs.Secrets(path, nil)
	require.NoError(t, err)
	s.Pace(0, 0)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if list := s.Secrets(); list[0] != one && list[0] != two {
					t.Errorf("%q", list)
				}
			}
		})
	}
	for i := range 100 {
		write(t, path, []string{one, two}[i%2]+"\n")
	}
	wg.Wait()
	require.Equal(t, []string{two}, s.Secrets())
}
