// Package discovery_test is how buses find real servers, and follow them, by the strategies of package discovery.
package discovery_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/internal/atonce"
)

func TestMain(m *testing.M) {
	atonce.Tests(16, 4) // they mostly wait
	goleak.VerifyTestMain(m)
}
