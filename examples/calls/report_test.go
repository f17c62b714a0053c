package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
)

// What must not be told is noticed.
func TestReportNoticesABrokenPromise(t *testing.T) {
	failed := func(node string, ran call.Ran, err error) error {
		n, e := rolebus.NewNode(rolebus.NodeState{Name: node, Incarnation: 1})
		require.NoError(t, e)
		return fmt.Errorf("somewhere: %w", &call.CallError{Err: err, Attempts: []call.Attempt{{Node: n, Ran: ran, Err: err}}})
	}
	for name, tc := range map[string]struct {
		method string
		err    error
		times  int // in the books
		broken string
	}{
		"answered once":                    {"charge", nil, 1, ""},
		"answered, and not done":           {"charge", nil, 0, "answered and not charged"},
		"answered, and done twice":         {"charge", nil, 2, "2 times"},
		"did not run":                      {"charge", failed("shop-1", call.RanNo, call.ErrUnreachable), 0, ""},
		"did not run, and was done":        {"charge", failed("shop-1", call.RanNo, call.ErrUnreachable), 1, "told that it did not run"},
		"may have run":                     {"charge", failed("shop-1", call.RanMaybe, call.ErrUnreachable), 0, ""},
		"may have run, and was done":       {"charge", failed("shop-1", call.RanMaybe, call.ErrUnreachable), 1, ""},
		"may have run, and was done twice": {"charge", failed("shop-1", call.RanMaybe, call.ErrUnreachable), 2, "2 times"},
		"refused by who drains":            {"charge", failed("shop-2", call.RanNo, call.ErrDraining), 0, ""},
		"lost by who drains":               {"charge", failed("shop-2", call.RanMaybe, call.ErrUnreachable), 1, "lost by shop-2"},
		"an error that nobody knows":       {"charge", failed("shop-1", call.RanMaybe, errors.New("x")), 0, "nobody was to be told this"},
		"an error without attempts":        {"charge", call.ErrBusy, 0, "nobody was to be told this"},
		"a price":                          {"price", nil, 0, ""},
		"a price that was not answered":    {"price", failed("shop-1", call.RanNo, call.ErrUnreachable), 0, "was not answered"},
		"a price that was charged":         {"price", nil, 1, "nobody asked for that"},
	} {
		t.Run(name, func(t *testing.T) {
			books := map[int]int{}
			if tc.times > 0 {
				books[7] = tc.times
			}
			r := count([]outcome{{tc.method, 7, tc.err}}, []*process{{books: books}}, "shop-2")
			var out strings.Builder
			err := r.print(&out)
			if tc.broken == "" {
				require.NoError(t, err)
				require.Contains(t, out.String(), "nobody was told anything wrong")
				return
			}
			require.ErrorContains(t, err, tc.broken)
			require.NotContains(t, out.String(), "nobody was told anything wrong")
		})
	}
}
