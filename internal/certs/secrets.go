package certs

import (
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rolebus/rolebus/internal/reread"
)

const (
	shortest      = 16 // bytes of a secret
	mostSecrets   = 16
	mostOfSecrets = 64 << 10
	makeOne       = "openssl rand -base64 32 makes one"
)

// SecretFile is secrets in a file. Its methods may be called by several goroutines at once.
type SecretFile struct{ kept *reread.Kept[secrets] }

type secrets struct{ list []string }

// Secrets reads the secrets in a file, one a line. The first is spoken, and all are accepted: so a secret is replaced without anybody
// being refused by adding the new one below the old one everywhere, then having it first everywhere, then removing the old one. White
// space around a secret is no part of it; empty lines and lines that begin with # are passed over.
//
// It returns an error if there is none, or one of fewer than 16 bytes, or which is no text, if there are more than 16, or more than 64
// KiB, or the file cannot be read. No error or line of the log has anything of a secret in it. That anybody on the machine may read the
// file is a warning.
func Secrets(path string, log *slog.Logger) (*SecretFile, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	path = reread.Whole(path)
	parse := func(_ time.Time, texts []string, old *secrets) (*secrets, []error) {
		list, err := parseSecrets(path, texts[0])
		switch {
		case err != nil:
			return nil, []error{err}
		case old != nil && slices.Equal(old.list, list):
			return old, nil
		}
		return &secrets{list}, nil
	}
	kept, err := reread.New(log, []reread.File{{Path: path, Most: mostOfSecrets, Secret: true}}, parse, func(old, new *secrets) {
		log.Info("secrets replaced", "file", path, "secrets", len(new.list), "spoken", replaced(old.list[0] != new.list[0]))
	})
	if err != nil {
		return nil, err
	}
	return &SecretFile{kept}, nil
}

func replaced(yes bool) string {
	if yes {
		return "another one"
	}
	return "the same"
}

// Secrets returns the secrets, at least one: the first is to be spoken, all are to be accepted. It looks at the file first if the last look
// was more than a second ago; what has changed counts once it has stood for a second. Whatever is wrong with the file, the last good
// ones stay, and it is logged once. The slice is the caller's own.
func (s *SecretFile) Secrets() []string { return slices.Clone(s.kept.Get().list) }

// Look looks at the file now, and returns what is wrong with it, nil if nothing is.
func (s *SecretFile) Look() error { return s.kept.Look() }

// Pace sets how often the file is looked at, and for how long a change must have stood. For tests.
func (s *SecretFile) Pace(every, quiet time.Duration) { s.kept.Pace(every, quiet) }

func parseSecrets(path, text string) ([]string, error) {
	var list []string
	line := 0
	for each := range strings.Lines(strings.TrimPrefix(text, "\xef\xbb\xbf")) { // with which some editors begin UTF-8
		line++
		secret := strings.TrimSpace(each)
		switch {
		case secret == "" || secret[0] == '#':
			continue
		case !utf8.ValidString(secret) || strings.ContainsFunc(secret, unicode.IsControl):
			return nil, reread.Wrong(path, makeOne, "line %d is no text", line)
		case len(secret) < shortest:
			return nil, reread.Wrong(path, makeOne, "the secret in line %d is too short: %d bytes of at least %d", line, len(secret), shortest)
		case slices.Contains(list, secret):
			continue
		case len(list) == mostSecrets:
			return nil, reread.Wrong(path, "remove those that nobody speaks any more", "more than %d secrets", mostSecrets)
		}
		list = append(list, secret)
	}
	if len(list) == 0 {
		return nil, reread.Wrong(path, "put one there, in a line of its own: "+makeOne, "it has no secret in it")
	}
	return list, nil
}
