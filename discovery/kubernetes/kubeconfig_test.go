package kubernetes_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
)

// A kubeconfig is for whoever is outside of a pod, also one that gets its credentials from a program.
func TestAKubeconfig(t *testing.T) {
	for name, c := range map[string]struct{ cluster, user, mistake string }{
		"a token":          {"", "token: second", ""},
		"a file":           {"", "tokenFile: %[1]s/token", ""},
		"a program":        {"", "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: cat, args: [%[1]s/credential]}", ""},
		"nobody":           {"", "", ""},
		"a stranger's":     {"insecure-skip-tls-verify: true", "token: second", "Insecure: credentials would be sent to whoever answers"},
		"a stranger's, by": {"insecure-skip-tls-verify: true", "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: cat}", "Insecure: credentials would be sent to whoever answers"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.file("token", "second")
			f.file("credential", `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"second"}}`)
			ca, err := os.ReadFile(filepath.Join(f.account, "ca.crt"))
			require.NoError(t, err)
			if c.cluster == "" {
				c.cluster = "certificate-authority-data: " + base64.StdEncoding.EncodeToString(ca)
			}
			f.file("kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: here,
contexts: [{name: here, context: {cluster: here, user: me, namespace: fleet}}],
clusters: [{name: here, cluster: {server: %q, %s}}],
users: [{name: me, user: {%s}}]}`, f.server.URL, c.cluster, fmt.Sprintf(c.user+"%.0[1]s", f.account)))
			t.Setenv("KUBECONFIG", filepath.Join(f.account, "kubeconfig"))
			kubeconfig := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
			config, err := kubeconfig.ClientConfig()
			require.NoError(t, err)
			namespace, _, err := kubeconfig.Namespace()
			require.NoError(t, err)
			s := kubernetes.Service("nats", append(f.with()[2:], kubernetes.Config(config), kubernetes.Namespace(namespace))...)
			if c.mistake != "" {
				require.ErrorContains(t, s.(interface{ Err() error }).Err(), c.mistake)
				return
			}
			h := follow(t, s)
			h.hosts("10.1.0.1:4222")
			if name == "nobody" {
				require.Empty(t, f.lastToken())
			} else {
				require.Equal(t, "second", f.lastToken())
			}
			require.Empty(t, h.failures())
			require.ErrorContains(t, h.stop(), "canceled")
			eventually(t, "no connection", func() bool { return f.clients() == 0 })
		})
	}
}
