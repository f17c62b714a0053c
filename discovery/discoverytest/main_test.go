package discoverytest

import (
	"testing"

	"github.com/rolebus/rolebus/internal/atonce"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	atonce.Tests(32, 16)
	goleak.VerifyTestMain(m)
}
