package rolebus

import (
	"testing"

	"github.com/rolebus/rolebus/internal/atonce"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	atonce.Tests(8, 4) // those that wait for a real server; all others run before, alone
	goleak.VerifyTestMain(m)
}
