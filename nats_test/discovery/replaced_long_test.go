//go:build long

package discovery_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/dnstest"
	"github.com/rolebus/rolebus/internal/replaced"
)

// byEnv has the addresses be in a variable of its own.
func byEnv(t *testing.T, _ *replaced.Cluster) replaced.Source {
	variable := fmt.Sprintf("ROLEBUS_TEST_%d", time.Now().UnixNano())
	t.Cleanup(func() { _ = os.Unsetenv(variable) })
	return replaced.Source{
		Strategy: func() rolebus.Strategy {
			return discovery.Env(variable, discovery.Interval(100*time.Millisecond), discovery.TLSName(replaced.Domain))
		},
		Tell: func(list []rolebus.Address) {
			require.NoError(t, os.Setenv(variable, strings.TrimSpace(text(list))))
		},
	}
}

func byLocal(t *testing.T, _ *replaced.Cluster) replaced.Source {
	return announcedSource(t, discovery.Local(with(discovery.Directory(t.TempDir()))...))
}

// Each server is replaced twice, by each strategy, in the other way than in TestServersAreReplaced: come back or new. Two at a time, so that the
// machine is not what fails.
func TestAllServersAreReplacedTwice(t *testing.T) {
	type course struct {
		name   string
		course replaced.Course
		source func(*testing.T, *replaced.Cluster) replaced.Source
	}
	onePort := replaced.Shape{OnePort: true}
	for _, pair := range [][]course{
		{{"File", replaced.Course{New: true}, byFile}, {"DNS", replaced.Course{Shape: onePort}, byDNS}},
		// Of SRV the names and the ports stay: only what names stand for is another address.
		{{"SRV", replaced.Course{New: true, Shape: onePort}, bySRV}, {"Gossip", replaced.Course{}, byGossip}},
		{{"Env", replaced.Course{New: true}, byEnv}, {"Local", replaced.Course{}, byLocal}},
		{
			{"DNS, and servers that tell", replaced.Course{Shape: replaced.Shape{OnePort: true, Advertise: true}}, byDNS},
			{"Gossip, and servers that tell", replaced.Course{New: true, Shape: replaced.Shape{Advertise: true}}, byGossip},
		},
	} {
		t.Run(pair[0].name+" and "+pair[1].name, func(t *testing.T) {
			for _, each := range pair {
				t.Run(each.name, func(t *testing.T) {
					t.Parallel()
					each.course.Rounds = 2
					replaced.Run(t, each.course, each.source)
				})
			}
		})
	}
}

// TestServersAreReplaced does without: who gossips is believed for a while after its end, and that takes longer than all else there.
func TestServersThatGossipAreReplaced(t *testing.T) {
	t.Parallel()
	replaced.Run(t, replaced.Course{New: true}, byGossip)
}

// All that can be wrong with DNS, one after another.
func TestServersAreReplacedWhileDNSFailsInEachWay(t *testing.T) {
	t.Parallel()
	replaced.Run(t, replaced.Course{Shape: replaced.Shape{OnePort: true}, Rounds: 5}, byFailingDNS(
		dnstest.NXDomain, dnstest.NoData, dnstest.ServFail, dnstest.Refused, dnstest.NotImpl, dnstest.Silent, dnstest.Garbage, dnstest.BadRecords,
		dnstest.WrongID, dnstest.WrongName, dnstest.NoTCP, dnstest.NoRecursion))
}
