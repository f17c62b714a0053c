package death_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
)

// tally is what was measured, death by death.
type tally struct {
	deaths []death
}

type death struct {
	node    string
	took    []time.Duration // until each of the others reported it, sorted
	reasons map[string]int
}

func (y *tally) add(node string, at int64, seen map[*node]end) {
	d := death{node: node, reasons: map[string]int{}}
	for _, e := range seen {
		d.took = append(d.took, time.Duration(e.at-at))
		d.reasons[e.reason]++
	}
	slices.Sort(d.took)
	y.deaths = append(y.deaths, d)
}

// print logs a line for each death, and then the spread: of the last to notice each, and of all.
func (y *tally) print(t *testing.T) {
	t.Helper()
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "node\tobservers\tfirst\tmedian\tlast\treasons\t")
	var worst, all []time.Duration
	reasons := map[string]int{}
	for _, d := range y.deaths {
		if len(d.took) == 0 {
			continue
		}
		last := d.took[len(d.took)-1]
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%v\t\n", d.node, len(d.took), ms(d.took[0]), ms(quantile(d.took, 0.5)), ms(last), d.reasons)
		worst, all = append(worst, last), append(all, d.took...)
		for reason, n := range d.reasons {
			reasons[reason] += n
		}
	}
	fmt.Fprintln(w, "\tcount\tp50\tp99\tmax\t\t")
	spread := func(what string, took []time.Duration) {
		slices.Sort(took)
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t\t\n", what, len(took), ms(quantile(took, 0.5)), ms(quantile(took, 0.99)), ms(quantile(took, 1)))
	}
	spread("last observer", worst)
	spread("all pairs", all)
	require.NoError(t, w.Flush())
	t.Logf("\n%s%v", &out, reasons)
}

// requireUnreachable fails if anybody had to wait for a lease to end.
func (y *tally) requireUnreachable(t *testing.T) {
	t.Helper()
	for _, d := range y.deaths {
		require.Equal(t, []string{rolebus.ReasonUnreachable.String()}, slices.Collect(maps.Keys(d.reasons)), "%s: %v", d.node, d.reasons)
	}
}

// quantile returns the value that a share q of the sorted ones does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }
