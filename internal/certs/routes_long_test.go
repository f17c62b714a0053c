//go:build long

package certs_test

import (
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whose certificate is not what it should be is not let in, whoever dials, and those who are together stay so.
func TestWhoIsRefusedByACluster(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	all := newMembers(t, 2, a)
	for _, m := range all {
		m.start(all...)
	}
	links := formed(t, all)
	for name, c := range map[string]struct {
		by      *authority
		change  []func(*x509.Certificate)
		foreign bool   // of a name that is not its own
		told    string // by who dials it
		refused string // by who is dialed; "" where TLS looks at no name
	}{
		"of another authority": {b, nil, false, "unknown authority", "unknown authority"},
		"expired":              {a, []func(*x509.Certificate){expired}, false, "has expired", "has expired"},
		"of another name":      {a, nil, true, "nor for any other name that is known", ""},
		"for clients only":     {a, []func(*x509.Certificate){usage(x509.ExtKeyUsageClientAuth)}, false, "incompatible key usage", ""},
		"for servers only":     {a, []func(*x509.Certificate){usage(x509.ExtKeyUsageServerAuth)}, false, "", "incompatible key usage"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.refused != "" {
				who := newMembers(t, 1, c.by)[0]
				who.place.put(c.by.issue(t, []string{who.host}, c.change...))
				who.place.trust(a, c.by)
				who.place.files.Names = all[0].place.files.Names
				who.start(all[0])
				defer who.stop()
				saw(t, all[0], c.refused, who)
			}
			if c.told != "" {
				two := newMembers(t, 2, a) // one with the certificate, which dials nobody, and one that dials it
				who, dials := two[0], two[1]
				names := []string{who.host}
				if c.foreign {
					names = []string{"127.0.0.1", "other.test"}
				}
				who.place.put(c.by.issue(t, names, c.change...))
				who.place.trust(a, c.by)
				who.start()
				defer who.stop()
				dials.start(who)
				defer dials.stop()
				saw(t, dials, c.told, who)
			}
		})
	}
	require.Equal(t, links, formed(t, all), "%v", logs(all))
}
