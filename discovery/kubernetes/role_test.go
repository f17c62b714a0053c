package kubernetes_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// yamlOf is the YAML in what somebody can do.
func yamlOf(t testing.TB, mend string) string {
	t.Helper()
	_, text, ok := strings.Cut(mend, "takes: ")
	require.True(t, ok, mend)
	text, _, _ = strings.Cut(text, "; ")
	return text
}

// missing is the Role and the RoleBinding that a user is told to need who may do nothing in a namespace.
func missing(t *testing.T, namespace, user string, of func(opts ...kubernetes.Option) discovery.Strategy, opts ...kubernetes.Option) (role rbacv1.Role, binding rbacv1.RoleBinding) {
	t.Helper()
	f := newFake(t)
	f.answer(says(403, status(403, "Forbidden", `things is forbidden: User "`+user+`" cannot list resource`)), nil)
	failure := follow(t, of(f.with(append(opts, kubernetes.Namespace(namespace))...)...)).failure(discovery.ReasonForbidden, "kubectl apply")
	require.NotContains(t, failure.Mend, `"`)
	var list struct{ Items []json.RawMessage }
	require.NoError(t, yaml.Unmarshal([]byte(yamlOf(t, failure.Mend)), &list), failure.Mend)
	require.Len(t, list.Items, 2)
	require.NoError(t, json.Unmarshal(list.Items[0], &role), failure.Mend)
	require.NoError(t, json.Unmarshal(list.Items[1], &binding), failure.Mend)
	require.Equal(t, "Role", role.Kind)
	require.Equal(t, "RoleBinding", binding.Kind)
	require.Equal(t, role.Name, binding.RoleRef.Name)
	require.Equal(t, namespace, role.Namespace)
	require.Equal(t, namespace, binding.Namespace)
	require.Len(t, binding.Subjects, 1)
	return role, binding
}

// What one is told to apply does not take the place of what another one was told to apply.
func TestWhatOneLacksTakesNothingFromAnother(t *testing.T) {
	service := func(opts ...kubernetes.Option) discovery.Strategy { return kubernetes.Service("nats", opts...) }
	byLabel := func(opts ...kubernetes.Option) discovery.Strategy { return kubernetes.Pods("app=nats", opts...) }
	listsOnly := []kubernetes.Option{kubernetes.ListsOnly()}
	roles, bindings := map[string]rbacv1.Role{}, map[string]rbacv1.RoleBinding{}
	for _, user := range []string{"system:serviceaccount:fleet:bus", "system:serviceaccount:fleet:web", "system:serviceaccount:web:fleet", "jane", "bus",
		"system:serviceaccount:a-b:c", "system:serviceaccount:a:b-c"} {
		for _, of := range []func(opts ...kubernetes.Option) discovery.Strategy{service, byLabel} {
			for _, opts := range [][]kubernetes.Option{nil, listsOnly} {
				role, binding := missing(t, "fleet", user, of, opts...)
				if before, ok := roles[role.Name]; ok {
					require.Equal(t, before, role)
				}
				require.NotContains(t, bindings, binding.Name)
				roles[role.Name], bindings[binding.Name] = role, binding
			}
		}
	}
}

// Names that YAML takes for something else than a text are names all the same.
func TestWhatIsLackedByWhoHasAnOddName(t *testing.T) {
	service := func(opts ...kubernetes.Option) discovery.Strategy { return kubernetes.Service("nats", opts...) }
	for _, name := range []string{"123", "1e3", "0x1f", "true", "no", "on", "null", "y", "2024-01-02", "fleet", "1", "0", "a-1", "12-34"} {
		_, binding := missing(t, name, "system:serviceaccount:"+name+":"+name, service)
		require.Equal(t, rbacv1.Subject{Kind: "ServiceAccount", Namespace: name, Name: name}, binding.Subjects[0])
		_, binding = missing(t, name, name, service)
		require.Equal(t, name, binding.Subjects[0].Name)
	}
	for _, name := range []string{"True", "NULL", "~", "jane@example.com", "CN=jane, O=x", "https://issuer.example/#jane", "it's me", "50%", "a: b", "a:", "-a", ".5", "é"} {
		_, binding := missing(t, "fleet", name, service)
		require.Equal(t, rbacv1.Subject{Kind: "User", APIGroup: "rbac.authorization.k8s.io", Name: name}, binding.Subjects[0])
		require.False(t, strings.ContainsAny(binding.Name, "/%"), "the API server refuses %s", binding.Name)
	}
}
