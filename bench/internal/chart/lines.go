package chart

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Line is a measured quantity over another: Y[i] at X[i], in any order.
type Line struct {
	Name string
	X, Y []float64
}

// Plot is some lines on the same two axes, both logarithmic.
type Plot struct {
	Title, XLabel, YLabel string
	Lines                 []Line
}

const (
	plotHigh = 250.0 // of the area that the axes enclose
	axisRoom = 58.0  // for numbers at the left
	nameGap  = 16.0  // between the names at line ends
	colours  = 6
)

// Lines draws plots, one below the other. The lines have markers, and their names at their right ends; the first line of
// each plot has the colour that stands for us in Bars. It refuses, and writes nothing for, a drawing without plots, a plot
// without lines, a line without points or with more X than Y, and values that a logarithmic axis cannot show: zero,
// negative, infinite, not a number.
func Lines(w io.Writer, title string, plots []Plot) error {
	if err := checkPlots(plots); err != nil {
		return fmt.Errorf("lines %q: %w", title, err)
	}
	c := &canvas{}
	c.text(margin, margin+14, "head", "start", cut(title, (width-2*margin)*fontSize/17))
	y := margin + 46
	for _, p := range plots {
		y = c.plot(p, y)
	}
	return c.write(w, title, y)
}

func checkPlots(plots []Plot) error {
	if len(plots) == 0 {
		return errors.New("no plots: give at least one")
	}
	for _, p := range plots {
		if len(p.Lines) == 0 {
			return fmt.Errorf("plot %q has no lines: leave it out", p.Title)
		}
		for _, l := range p.Lines {
			if len(l.X) == 0 || len(l.X) != len(l.Y) {
				return fmt.Errorf("plot %q, line %q: %d values of X and %d of Y: give as many of each, and at least one",
					p.Title, l.Name, len(l.X), len(l.Y))
			}
			for _, v := range slices.Concat(l.X, l.Y) {
				if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
					return fmt.Errorf("plot %q, line %q: %v is not on a logarithmic axis: leave the point out", p.Title, l.Name, v)
				}
			}
		}
	}
	return nil
}

// plot draws one plot from y on and returns where the next one begins.
func (c *canvas) plot(p Plot, y float64) float64 {
	var xs, ys []float64
	names := 0.0
	for _, l := range p.Lines {
		xs, ys, names = append(xs, l.X...), append(ys, l.Y...), max(names, wide(l.Name))
	}
	names = min(names, width*0.3)
	top, left, right := y+32, margin+axisRoom, width-margin-names-20
	bottom := top + plotHigh
	x := axisScale(slices.Min(xs), slices.Max(xs), left, right)
	v := axisScale(slices.Min(ys), slices.Max(ys), bottom, top)

	c.text(margin, y, "title", "start", cut(p.Title, width-2*margin))
	c.text(margin, y+20, "soft", "start", p.YLabel)
	for _, tick := range v.ticks() {
		c.line("grid", left, v.at(tick), right, v.at(tick))
		c.text(left-8, v.at(tick)+4, "soft", "end", number(tick))
	}
	for _, tick := range x.ticks() {
		c.line("grid", x.at(tick), top, x.at(tick), bottom)
		c.text(x.at(tick), bottom+17, "soft", "middle", number(tick))
	}
	c.line("axis", left, top, left, bottom)
	c.line("axis", left, bottom, right, bottom)
	c.text(right, bottom+36, "soft", "end", p.XLabel)
	for i, l := range slices.Backward(p.Lines) { // the first line comes last, on top
		c.curve(l, i, x, v)
	}
	c.names(p.Lines, x, v, names)
	return bottom + 74
}

func (c *canvas) curve(l Line, i int, x, y scale) {
	order := l.byX()
	var path strings.Builder
	for n, at := range order {
		verb := "L"
		if n == 0 {
			verb = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", verb, x.at(l.X[at]), y.at(l.Y[at]))
	}
	c.draw(`<path class="line s%d" d="%s"><title>%s</title></path>`, i%colours, path.String(), escape(l.Name))
	for _, at := range order {
		c.marker(i, x.at(l.X[at]), y.at(l.Y[at]))
	}
}

// marker draws a point; lines differ in its form, too, for readers who do not see the colours.
func (c *canvas) marker(i int, x, y float64) {
	class := fmt.Sprintf("m%d", i%colours)
	switch i % 3 {
	case 0:
		c.draw(`<circle class="%s" cx="%.1f" cy="%.1f" r="4"/>`, class, x, y)
	case 1:
		c.draw(`<rect class="%s" x="%.1f" y="%.1f" width="7" height="7"/>`, class, x-3.5, y-3.5)
	case 2:
		c.draw(`<path class="%s" d="M%.1f %.1fl5 8.5h-10z"/>`, class, x, y-5)
	}
}

// names writes each line's name at its end, moved apart where they would overlap.
func (c *canvas) names(lines []Line, x, y scale, room float64) {
	type name struct {
		line int
		y    float64
	}
	all := make([]name, len(lines))
	for i, l := range lines {
		order := l.byX()
		all[i] = name{i, y.at(l.Y[order[len(order)-1]])}
	}
	slices.SortStableFunc(all, func(a, b name) int { return cmp.Compare(a.y, b.y) })
	for i := range all[1:] {
		all[i+1].y = max(all[i+1].y, all[i].y+nameGap)
	}
	for _, n := range all {
		c.draw(`<rect class="m%d" x="%.1f" y="%.1f" width="8" height="3"/>`, n.line%colours, x.to+2, n.y-1.5)
		c.text(x.to+14, n.y+4, "", "start", cut(lines[n.line].Name, room))
	}
}

// byX returns the indexes of the points from left to right.
func (l Line) byX() []int {
	order := make([]int, len(l.X))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(l.X[a], l.X[b]) })
	return order
}
