package chart

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Bar is one measured value. Ours is drawn in the colour that stands out. The Note is small text behind the value.
type Bar struct {
	Label string
	Value float64
	Ours  bool
	Note  string
}

// Panel is a group of bars on one scale. The scale is logarithmic when the largest value is more than 20 times the smallest;
// the panel says so.
type Panel struct {
	Title, Unit string
	Bars        []Bar
}

const (
	barStep = 27.0
	barHigh = 17.0
)

// Bars draws panels of horizontal bars, one below the other. A value of zero has no bar but its number. It refuses, and
// writes nothing for, a drawing without panels, a panel without bars, and values that are negative, infinite or not a number.
func Bars(w io.Writer, title string, panels []Panel) error {
	if err := checkPanels(panels); err != nil {
		return fmt.Errorf("bars %q: %w", title, err)
	}
	c := &canvas{}
	c.text(margin, margin+14, "head", "start", cut(title, (width-2*margin)*fontSize/17))
	labels := labelRoom(panels)
	y := margin + 46
	for _, p := range panels {
		y = c.panel(p, y, labels)
	}
	return c.write(w, title, y)
}

func checkPanels(panels []Panel) error {
	if len(panels) == 0 {
		return errors.New("no panels: give at least one")
	}
	for _, p := range panels {
		if len(p.Bars) == 0 {
			return fmt.Errorf("panel %q has no bars: leave it out", p.Title)
		}
		for _, b := range p.Bars {
			if math.IsNaN(b.Value) || math.IsInf(b.Value, 0) || b.Value < 0 {
				return fmt.Errorf("panel %q, bar %q: %v cannot be drawn: leave it out", p.Title, b.Label, b.Value)
			}
		}
	}
	return nil
}

// labelRoom is the same for all panels, so that their bars begin in one line.
func labelRoom(panels []Panel) float64 {
	room := 60.0
	for _, p := range panels {
		for _, b := range p.Bars {
			room = max(room, b.labelWidth())
		}
	}
	return min(room, width*0.36)
}

func (b Bar) labelWidth() float64 {
	if b.Ours {
		return wideBold(b.Label)
	}
	return wide(b.Label)
}

// panel draws one panel from y on and returns where the next one begins.
func (c *canvas) panel(p Panel, y, labels float64) float64 {
	left := margin + labels + 10
	behind := 40.0 // room for values and notes
	values := make([]float64, len(p.Bars))
	for i, b := range p.Bars {
		values[i] = b.Value
		behind = max(behind, wideBold(b.amount(p.Unit))+8+wide(b.Note))
	}
	s := barScale(values, left, width-margin-8-min(behind, width*0.35))
	c.text(margin, y, "title", "start", cut(p.Title, width*0.6))
	unit := p.Unit
	if s.log {
		unit += ", logarithmic scale"
	}
	c.text(width-margin, y, "soft", "end", unit)
	top, bottom := y+12, y+12+barStep*float64(len(p.Bars))
	last := math.Inf(-1)
	for _, v := range s.ticks() {
		x := s.at(v)
		c.line("grid", x, top, x, bottom)
		if half := wide(number(v)) / 2; x-half > last { // else they would run into each other
			c.text(x, bottom+15, "soft", "middle", number(v))
			last = x + half + 4
		}
	}
	c.line("axis", left, top, left, bottom)
	for i, b := range p.Bars {
		c.bar(b, p.Unit, s, top+barStep*float64(i))
	}
	return bottom + 50
}

func (c *canvas) bar(b Bar, unit string, s scale, y float64) {
	base := y + barStep/2 + fontSize/2 - 2
	label, class := "", "bar"
	if b.Ours {
		label, class = "value", "bar ours"
	}
	c.text(s.from-10, base, label, "end", cut(b.Label, s.from-10-margin+4))
	end := s.from
	if b.Value > 0 {
		end = s.at(b.Value)
		c.draw(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2"><title>%s: %s</title></rect>`,
			class, s.from, y+(barStep-barHigh)/2, max(end-s.from, 1), barHigh, escape(b.Label), escape(b.caption(unit)))
	}
	value := b.amount(unit)
	note := cut(b.Note, width-margin-end-8-wideBold(value)-8)
	c.draw(`<text x="%.1f" y="%.1f"><tspan class="value">%s</tspan><tspan class="soft" dx="8">%s</tspan></text>`,
		end+8, base, escape(value), escape(note))
}

func (b Bar) amount(unit string) string { return strings.TrimSpace(number(b.Value) + " " + unit) }

// caption is what stands behind the bar.
func (b Bar) caption(unit string) string {
	text := b.amount(unit)
	if b.Note != "" {
		text += "  " + b.Note
	}
	return text
}
