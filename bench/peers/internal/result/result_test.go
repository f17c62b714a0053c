package result_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

func row(system string, role result.Role, median float64) result.Row {
	return result.Row{
		Work: "change", Case: "seen", System: system, Role: role, Unit: "ms", Median: median, P99: 2 * median, Samples: 300,
		Charted: true,
	}
}

func merged() []result.Row {
	return result.Merge([][]result.Row{
		{row("core", result.Floor, 2), row("rolebus", result.Ours, 9), row("etcd", result.Peer, 40)},
		{row("core", result.Floor, 1), row("rolebus", result.Ours, 5), row("etcd", result.Peer, 10)},
		{row("core", result.Floor, 900), row("rolebus", result.Ours, 4), row("etcd", result.Peer, 20)},
	})
}

func TestRunsBecomeOneByTheirMedians(t *testing.T) {
	rows := merged()
	require.Len(t, rows, 3)
	require.Equal(t, []float64{2, 5, 20}, []float64{rows[0].Median, rows[1].Median, rows[2].Median})
	require.Equal(t, []float64{4, 10, 40}, []float64{rows[0].P99, rows[1].P99, rows[2].P99})
	require.Equal(t, []float64{1, 2.5, 10}, []float64{rows[0].PerFloor, rows[1].PerFloor, rows[2].PerFloor})
	require.Equal(t, []float64{0.4, 1, 4}, []float64{rows[0].PerOurs, rows[1].PerOurs, rows[2].PerOurs})
}

func TestAllocsAreMergedToo(t *testing.T) {
	a, b := row("x", result.Peer, 1), row("x", result.Peer, 1)
	a.Allocs, b.Allocs = new(1.0), new(2.0)
	rows := result.Merge([][]result.Row{{a}, {b}})
	require.Equal(t, 1.5, *rows[0].Allocs)
	require.Zero(t, rows[0].PerFloor, "there is none")
}

func TestPercentiles(t *testing.T) {
	took := make([]time.Duration, 200)
	for i := range took {
		took[len(took)-1-i] = time.Duration(i+1) * time.Millisecond
	}
	r := result.Row{}.Measured(took)
	require.Equal(t, 100.5, r.Median)
	require.Equal(t, 199.0, r.P99)
	require.True(t, r.Exact())
	r = result.Row{}.Measured(took[:3])
	require.Equal(t, []float64{199, 200}, []float64{r.Median, r.P99}, "of a few it is the largest")
	require.False(t, r.Exact())
}

func TestTableHasEveryRowAndEachNoteOnce(t *testing.T) {
	rows := merged()
	rows[1].Notes, rows[2].Notes = []string{"not the same promise"}, []string{"one member", "not the same promise"}
	var b strings.Builder
	require.NoError(t, result.Table(&b, []result.About{{Work: "change", Text: "a change"}}, rows))
	for _, want := range []string{"change: a change", "core (floor)", "rolebus [1]", "etcd [2] [1]", "20.0 ms", "x floor", "2.50"} {
		require.Contains(t, b.String(), want)
	}
	require.Equal(t, 1, strings.Count(b.String(), "not the same promise"))
}

func TestNumbersHaveThreeDigitsThatCount(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0", 0.01234: "0.0123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 999.7: "1,000", 1234: "1,234", 12_034.5: "12,035",
		1_234_567: "1,234,567", 100_000: "100,000",
	} {
		require.Equal(t, want, result.Number(value))
	}
}

func TestReportIsSavedAndDrawn(t *testing.T) {
	report := result.Report{Runs: 3, Rows: merged()}
	report.Describe("github.com/stretchr/testify")
	require.NotZero(t, report.Cores)
	require.Contains(t, report.Machine(), report.Go)

	var saved strings.Builder
	require.NoError(t, report.WriteJSON(&saved))
	var again result.Report
	require.NoError(t, json.Unmarshal([]byte(saved.String()), &again))
	require.Len(t, again.Rows, 3)

	var drawn strings.Builder
	require.NoError(t, report.WriteSVG(&drawn))
	require.Contains(t, drawn.String(), "change: seen")
	for dec := xml.NewDecoder(strings.NewReader(drawn.String())); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
}
