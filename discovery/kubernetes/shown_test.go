package kubernetes_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/rolebus/rolebus/discovery/kubernetes"
)

// No password is shown that stands where none belongs.
func TestNoPasswordIsShown(t *testing.T) {
	for _, host := range []string{"http://u:geheim@a", "https://u:geheim@a", "https://u:geheim%zz@a", "u:geheim@a:1", "https://u:gehe im@a b"} {
		for _, option := range []kubernetes.Option{kubernetes.Master(host), kubernetes.Config(&rest.Config{Host: host, BearerToken: "x"})} {
			strategy := kubernetes.Service("nats", kubernetes.Namespace("x"), option).(interface{ Err() error })
			if err := strategy.Err(); err != nil {
				require.NotContains(t, err.Error(), "gehe", host)
			}
		}
	}
}
