package chart_test

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/bench/internal/chart"
)

// texts parses a drawing, which fails if it is not well-formed, and returns all the text in it.
func texts(t *testing.T, drawing string) string {
	t.Helper()
	var all strings.Builder
	for dec := xml.NewDecoder(strings.NewReader(drawing)); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		require.NoError(t, err, drawing)
		if text, ok := token.(xml.CharData); ok {
			all.Write(text)
		}
	}
}

func panels() []chart.Panel {
	return []chart.Panel{
		{Title: "A change is seen in another process", Unit: "ms", Bars: []chart.Bar{
			{Label: "core NATS, the floor", Value: 0.061},
			{Label: "rolebus", Value: 0.094, Ours: true, Note: "p99 0.21 ms"},
			{Label: "NATS KV, by hand", Value: 0.11, Note: "p99 0.3 ms"},
			{Label: "etcd, fsync", Value: 2.31, Note: "one member"},
			{Label: "Serf, 10 agents", Value: 304},
		}},
		{Title: "Nodes of a role", Unit: "ns", Bars: []chart.Bar{
			{Label: "map behind a pointer", Value: 12.7},
			{Label: "rolebus", Value: 14.2, Ours: true, Note: "0 allocs"},
			{Label: "nothing at all", Value: 0},
		}},
	}
}

func plots() []chart.Plot {
	n := []float64{10, 100, 1000, 10000}
	return []chart.Plot{
		{Title: "Messages that one bystander gets", XLabel: "nodes", YLabel: "messages a second", Lines: []chart.Line{
			{Name: "rolebus", X: n, Y: []float64{8, 8, 4.2, 2}},
			{Name: "NATS KV, by hand", X: n, Y: []float64{5, 50, 500, 5000}},
			{Name: "Serf", X: []float64{1000, 10, 100}, Y: []float64{14, 9, 12}},
		}},
		{Title: "One point only", XLabel: "nodes", YLabel: "ms", Lines: []chart.Line{{Name: "one", X: n[:1], Y: n[:1]}}},
	}
}

// CHART_DIR keeps the drawings, to be looked at.
func keep(t *testing.T, name, drawing string) {
	if dir := os.Getenv("CHART_DIR"); dir != "" {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte(drawing), 0o600))
	}
}

func TestBarsShowEveryLabelAndValue(t *testing.T) {
	var b strings.Builder
	require.NoError(t, chart.Bars(&b, "rolebus and its peers", panels()))
	keep(t, "bars.svg", b.String())
	got := texts(t, b.String())
	for _, want := range []string{
		"rolebus and its peers", "etcd, fsync", "0.094 ms", "p99 0.21 ms", "304 ms", "logarithmic", "14.2 ns", "0 ns",
	} {
		require.Contains(t, got, want)
	}
	require.Equal(t, 1, strings.Count(got, "logarithmic"), "only where values are far apart")
	require.Equal(t, 2, strings.Count(b.String(), `class="bar ours"`))
	require.Equal(t, 7, strings.Count(b.String(), `class="bar`), "a bar for each value but zero")
	require.Contains(t, b.String(), "prefers-color-scheme: dark")
}

func TestLinesShowEveryNameAndPoint(t *testing.T) {
	var b strings.Builder
	require.NoError(t, chart.Lines(&b, "How it grows", plots()))
	keep(t, "lines.svg", b.String())
	got := texts(t, b.String())
	for _, want := range []string{"How it grows", "messages a second", "nodes", "Serf", "10,000", "One point only"} {
		require.Contains(t, got, want)
	}
	require.Equal(t, 4, strings.Count(b.String(), `class="line `))
	require.Equal(t, 4+1, strings.Count(b.String(), "<circle "))
}

func TestTextIsEscaped(t *testing.T) {
	evil := `<script>&"'` + "\x00\xff"
	var bars, lines strings.Builder
	require.NoError(t, chart.Bars(&bars, evil, []chart.Panel{{Title: evil, Unit: evil, Bars: []chart.Bar{
		{Label: evil, Value: 1, Note: evil},
	}}}))
	require.NoError(t, chart.Lines(&lines, evil, []chart.Plot{{Title: evil, XLabel: evil, YLabel: evil, Lines: []chart.Line{
		{Name: evil, X: []float64{1}, Y: []float64{1}},
	}}}))
	for _, drawing := range []string{bars.String(), lines.String()} {
		require.NotContains(t, drawing, "<script")
		require.Contains(t, texts(t, drawing), `<script>&"'`)
	}
}

func TestLongTextIsCut(t *testing.T) {
	var b strings.Builder
	require.NoError(t, chart.Bars(&b, strings.Repeat("t", 999), []chart.Panel{{Title: "p", Bars: []chart.Bar{
		{Label: strings.Repeat("l", 999), Value: 1, Note: strings.Repeat("n", 999)},
	}}}))
	texts(t, b.String())
	require.Contains(t, b.String(), "lll…")
}

func TestWhatCannotBeDrawnIsRefused(t *testing.T) {
	bar := func(v float64) []chart.Panel {
		return []chart.Panel{{Title: "panel", Bars: []chart.Bar{{Label: "bar", Value: v}}}}
	}
	for name, panels := range map[string][]chart.Panel{
		"none": nil, "empty": {{Title: "panel"}}, "NaN": bar(math.NaN()), "infinite": bar(math.Inf(1)), "negative": bar(-1),
	} {
		var b strings.Builder
		require.Error(t, chart.Bars(&b, "title", panels), name)
		require.Empty(t, b.String(), name)
	}
	line := func(x, y []float64) []chart.Plot {
		return []chart.Plot{{Title: "plot", Lines: []chart.Line{{Name: "line", X: x, Y: y}}}}
	}
	one := []float64{1}
	for name, plots := range map[string][]chart.Plot{
		"none": nil, "empty": {{Title: "plot"}}, "no points": line(nil, nil), "more X": line([]float64{1, 2}, one),
		"zero": line(one, []float64{0}), "NaN": line([]float64{math.NaN()}, one), "infinite": line(one, []float64{math.Inf(1)}),
		"negative": line([]float64{-1}, one),
	} {
		var b strings.Builder
		require.Error(t, chart.Lines(&b, "title", plots), name)
		require.Empty(t, b.String(), name)
	}
}

func TestSingleAndExtremeValues(t *testing.T) {
	for _, values := range [][]float64{{0}, {0, 0}, {1e-12}, {1e300}, {1e-12, 1e300}, {5, 100.01}, {5, 100}} {
		var b strings.Builder
		p := chart.Panel{Title: "p"}
		for _, v := range values {
			p.Bars = append(p.Bars, chart.Bar{Label: "b", Value: v})
		}
		require.NoError(t, chart.Bars(&b, "t", []chart.Panel{p}))
		require.NotContains(t, texts(t, b.String()), "NaN")
		require.NotContains(t, texts(t, b.String()), "Inf")
	}
}
