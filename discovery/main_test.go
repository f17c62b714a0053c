package discovery_test

import (
	"testing"

	"github.com/rolebus/rolebus/internal/atonce"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	atonce.Tests(16, 8)
	goleak.VerifyTestMain(m)
}
