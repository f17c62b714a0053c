// Package rescue has clusters of processes of their own lose more servers than they can spare, and a person make them whole again, as
// docs/CLUSTER.md says it is done.
package rescue

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/internal/atonce"
)

func TestMain(m *testing.M) {
	if told := os.Getenv(childVariable); told != "" {
		os.Exit(child(told))
	}
	atonce.Tests(8, 4) // they mostly wait
	goleak.VerifyTestMain(m)
}
