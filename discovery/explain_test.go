package discovery

import (
	"net"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// With search domains one lookup is of several names. That there is nothing is known only if each was answered.
func TestWhatIsKnownOfANameThatIsNotFound(t *testing.T) {
	ok, none, fail, refused := dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeServerFailure, dns.RcodeRefused
	for _, test := range []struct {
		codes  map[string][]int // of each name, one after another
		reason Reason
	}{
		{map[string][]int{"nats": {none}, "nats.a": {none}, "nats.b": {none}}, ReasonNotFound},
		{map[string][]int{"nats": {none}, "nats.a": {ok}, "nats.b": {none}}, ReasonEmpty},
		{map[string][]int{"nats": {none}, "nats.a": {fail}, "nats.b": {none}}, ReasonUnavailable},
		{map[string][]int{"nats": {none}, "nats.a": {fail, none}}, ReasonNotFound},
		{map[string][]int{"nats": {none}, "nats.a": {none, refused}}, ReasonForbidden},
		{map[string][]int{}, ReasonNotFound},
	} {
		n := &notes{}
		for name, codes := range test.codes {
			for _, code := range codes {
				question := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
				asked, err := question.Pack()
				require.NoError(t, err)
				answer, err := new(dns.Msg).SetRcode(question, code).Pack()
				require.NoError(t, err)
				n.note(asked, answer, false)
			}
		}
		require.Zero(t, n.strange)
		f := n.copy().explain("A nats", "nats", &net.DNSError{Err: "no such host", IsNotFound: true})
		require.Equal(t, test.reason, f.Reason, "%v", test.codes)
	}
}

// A name that has IPv4 alone is not given the IPv6 addresses of another one, to which search domains lead.
func TestSearchDomainsMixNoNames(t *testing.T) {
	first, second := place{"4nats1a", 1}, place{"4nats1b", 2}
	for _, test := range []struct {
		v4, v6 place
		want   [2]int // addresses left
	}{
		{first, first, [2]int{1, 1}},
		{second, second, [2]int{1, 1}},
		{first, second, [2]int{1, 0}},
		{second, first, [2]int{0, 1}},
		{place{}, second, [2]int{1, 1}}, // of a resolver that does not say
	} {
		n := &dnsName{lookup: &lookup{name: "nats"}, families: []family{{record: "A"}, {record: "AAAA"}}, under: []place{test.v4, test.v6}}
		got := n.ofOne([]answer{{of: "A", addresses: []Address{{Host: "a"}}}, {of: "AAAA", addresses: []Address{{Host: "b"}}}})
		require.Equal(t, test.want, [2]int{len(got[0].addresses), len(got[1].addresses)}, "%v", test)
		for _, a := range got {
			require.Equal(t, len(a.addresses) == 0, a.err != nil && answered(a.err))
		}
	}
}

// Whatever comes, it is noted as what it is, or as nothing.
func FuzzNotes(f *testing.F) {
	question, _ := new(dns.Msg).SetQuestion("nats.example.", dns.TypeA).Pack()
	f.Add(question, question)
	f.Add(question, []byte{})
	f.Add(question[:13], question[:12])
	f.Fuzz(func(t *testing.T, asked, answer []byte) {
		n := &notes{}
		n.note(asked, answer, false)
		n.note(asked, answer, true)
		require.Equal(t, 2, n.strange+len(n.answers))
		if h := n.copy(); len(h.answers) > 0 {
			require.Equal(t, asked[:2], answer[:2])
		}
		require.NotEmpty(t, n.copy().explain("A x", "x", &net.DNSError{Err: "no such host", IsNotFound: true}).Error())
	})
}
