package death_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Promise 3, under load: half of the fleet leaves, joins, restarts and dies, while the other half only changes its roles.
// Nobody may ever report of any node that it went, but of those lives that the test itself has ended.

func TestChurn(t *testing.T) {
	if !chosen(t, "churn") {
		return
	}
	for range *spinners {
		_, _, err := startChild(t, roleSpinner, config{}, nil)
		require.NoError(t, err)
	}
	f := startFleet(t, *processes, true, 0)
	over := time.Now().Add(*lasts)
	fleet := f.running()
	restless, calm := fleet[:len(fleet)/2], fleet[len(fleet)/2:]

	const nemeses = 4
	var work sync.WaitGroup
	errs := make([]error, nemeses+1)
	done := make([]map[string]int, nemeses+1)
	for i := range nemeses {
		work.Go(func() { // each has some nodes for itself
			var mine []*node
			for at := i; at < len(restless); at += nemeses {
				mine = append(mine, restless[at])
			}
			done[i], errs[i] = f.disturb(over, mine)
		})
	}
	work.Go(func() { done[nemeses], errs[nemeses] = f.changeRoles(over, calm) })
	work.Wait()
	total := map[string]int{}
	for i, err := range errs {
		require.NoError(t, err)
		for what, n := range done[i] {
			total[what] += n
		}
	}
	for _, n := range f.running() {
		require.NoError(t, f.waitSeen(n), "promise 1: convergence")
	}
	f.requireNoFalseLoss()
	t.Logf("%d processes, %d of them calm, %v: %v", len(fleet), len(calm), *lasts, total)
	for _, n := range calm {
		require.NotZero(t, total["roles"])
		require.Contains(t, f.running(), n)
	}
}

// disturb does one thing after another to one of the nodes, until a time. It waits each time until everybody has seen the
// outcome.
func (f *fleet) disturb(until time.Time, mine []*node) (done map[string]int, err error) {
	done = map[string]int{}
	for len(mine) > 0 && time.Now().Before(until) && err == nil {
		i := rand.N(len(mine))
		n := mine[i]
		var what string
		switch what = []string{doRejoin, doClose, "kill", "replace"}[rand.N(4)]; what {
		case doRejoin:
			err = f.rejoin(n)
		case doClose:
			if err = f.close(n); err == nil {
				mine[i], err = f.start(n.name)
			}
		case "kill":
			if _, _, err = f.kill(n); err == nil {
				mine[i], err = f.start(n.name)
			}
		case "replace": // before it is dead: the newer life supersedes it
			f.forget(n)
			f.touch(n)
			if mine[i], err = f.start(n.name); err == nil {
				err = n.kill()
			}
		}
		if err == nil {
			err = f.waitSeen(mine[i])
		}
		if err != nil {
			return done, fmt.Errorf("%s %s: %w", what, n.name, err)
		}
		done[what]++
	}
	return done, err
}

func (f *fleet) rejoin(n *node) error {
	f.touch(n)
	answer, err := n.tell(doRejoin)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.born(n, answer.Life)
	return nil
}

// changeRoles gives nodes roles and takes them away again.
func (f *fleet) changeRoles(until time.Time, of []*node) (done map[string]int, err error) {
	done = map[string]int{}
	for time.Now().Before(until) {
		n := of[rand.N(len(of))]
		role := fmt.Sprint(" role-", rand.N(10))
		for _, verb := range []string{doAdd, doRemove} {
			if _, err := n.tell(verb + role); err != nil {
				return done, fmt.Errorf("%s%s, %s: %w", verb, role, n.name, err)
			}
			done["roles"]++
		}
	}
	return done, nil
}
