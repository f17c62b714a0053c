//go:build linux

package chaos_test

import (
	"fmt"
	"strings"
)

// checkScopes is promise 7. Every role carries the name of the scope that it was given in; and a node is seen only in
// scopes that it was ordered to be in.
func checkScopes(w *world) []violation {
	var found []violation
	type place struct{ scope, node string }
	ordersIn := map[place]bool{}
	for _, r := range w.records {
		switch r.Kind {
		case ordered:
			if r.Op == opSet {
				ordersIn[place{r.Scope, r.Name}] = true
			}
		case sees:
			w.judged[7]++
			text := ""
			for _, role := range r.Roles {
				if !strings.HasPrefix(role, r.Scope+"/") {
					text = fmt.Sprintf("%s#%d saw the role %s of %s in %s", r.Name, r.Proc, role, r.Node, r.Scope)
				}
			}
			if !ordersIn[place{r.Scope, r.Node}] {
				text = fmt.Sprintf("%s#%d saw %s in %s, where it never was", r.Name, r.Proc, r.Node, r.Scope)
			}
			if text != "" {
				found = append(found, violation{7, r.At, []string{r.Name, r.Node}, text})
			}
		}
	}
	return found
}
