package main

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/serf/serf"

	"github.com/rolebus/rolebus"
)

// node is what somebody would keep of a process.
type node struct {
	name  string
	roles []string
}

func index(roles int) map[string][]*node {
	byRole := map[string][]*node{}
	for i := range readNodes {
		n := &node{nodeName(i), readRoles(i, roles)}
		for _, role := range n.roles {
			byRole[role] = append(byRole[role], n)
		}
	}
	return byRole
}

func askPointer(roles int) asker {
	type view struct{ byRole map[string][]*node }
	var current atomic.Pointer[view]
	current.Store(&view{index(roles)})
	return func(keys []string, n int) int {
		found, at := 0, 0
		for range n {
			found += len(current.Load().byRole[keys[at]])
			if at++; at == len(keys) {
				at = 0
			}
		}
		return found
	}
}

func askMutex(roles int) asker {
	var mu sync.RWMutex
	byRole := index(roles)
	return func(keys []string, n int) int {
		found, at := 0, 0
		for range n {
			mu.RLock()
			nodes := byRole[keys[at]]
			mu.RUnlock()
			found += len(nodes)
			if at++; at == len(keys) {
				at = 0
			}
		}
		return found
	}
}

func askRolebus(scope *rolebus.Scope) asker {
	return func(keys []string, n int) int {
		found, at := 0, 0
		for range n {
			found += scope.Nodes(rolebus.Role(keys[at])).Len()
			if at++; at == len(keys) {
				at = 0
			}
		}
		return found
	}
}

// askSerf has a tag for each role, because serf has no roles, and does what Serf.Members does before it looks at them.
func askSerf(roles int) asker {
	var mu sync.RWMutex
	members := map[string]*serf.Member{}
	for i := range readNodes {
		tags := map[string]string{}
		for _, role := range readRoles(i, roles) {
			tags[role] = ""
		}
		members[nodeName(i)] = &serf.Member{Name: nodeName(i), Tags: tags, Status: serf.StatusAlive}
	}
	copied := func() []serf.Member {
		mu.RLock()
		defer mu.RUnlock()
		all := make([]serf.Member, 0, len(members))
		for _, m := range members {
			all = append(all, *m)
		}
		return all
	}
	return func(keys []string, n int) int {
		found, at := 0, 0
		for range n {
			var have []serf.Member
			for _, m := range copied() {
				if _, has := m.Tags[keys[at]]; has && m.Status == serf.StatusAlive {
					have = append(have, m)
				}
			}
			found += len(have)
			if at++; at == len(keys) {
				at = 0
			}
		}
		return found
	}
}
