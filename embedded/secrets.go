package embedded

import (
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// secretsOf are the secrets in a server's options, whatever part of them: fields that are named so, and what comes with a user's name in URLs.
// The options must be such as no server has yet.
func secretsOf(o *server.Options) []string {
	var found []string
	collectSecrets(reflect.ValueOf(o), &found)
	slices.Sort(found)
	return slices.Compact(found)
}

// secretFields end the names of fields in nats-server's options that have a secret. An Nkey may be a public key: a seed is known by its form.
var secretFields = []string{"Password", "Token", "Authorization", "Secret", "Seed", "Sentinel", "JetStreamKey", "JetStreamOldKey"}

func collectSecrets(v reflect.Value, found *[]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if u, ok := reflect.TypeAssert[*url.URL](v); ok {
			if u != nil && u.User != nil {
				secret, both := u.User.Password()
				if !both {
					secret = u.User.Username() // a token
				}
				*found = append(*found, secret)
			}
			return
		}
		// An account is no option but a part of a server, and has none.
		if !v.IsNil() && v.Type() != reflect.TypeFor[*server.Account]() {
			collectSecrets(v.Elem(), found)
		}
	case reflect.Slice:
		for i := range v.Len() {
			collectSecrets(v.Index(i), found)
		}
	case reflect.Struct:
		if v.Type().PkgPath() != reflect.TypeFor[server.Options]().PkgPath() {
			return
		}
		for i := range v.NumField() {
			field := v.Type().Field(i)
			switch {
			case !field.IsExported():
			case field.Type.Kind() != reflect.String:
				collectSecrets(v.Field(i), found)
			case slices.ContainsFunc(secretFields, func(name string) bool { return strings.HasSuffix(field.Name, name) }):
				if secret := v.Field(i).String(); secret != "" {
					*found = append(*found, secret)
				}
			}
		}
	}
}
