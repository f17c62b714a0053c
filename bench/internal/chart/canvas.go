// Package chart draws measured numbers as SVG: horizontal bars, and lines on logarithmic axes. A drawing stands on its own,
// loads nothing, and follows the reader's light or dark scheme.
package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"unicode/utf8"
)

// All lengths are in pixels of a drawing that is width wide.
const (
	width    = 760.0
	margin   = 24.0
	fontSize = 13.0
	charWide = 7.1 // on average, at fontSize; generous, so that text stays inside
)

// Every rule names plain properties: custom ones (var) are not read by all programs that show SVG.
const style = `
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2937 }
.head { font-size: 17px; font-weight: 600 }
.title { font-weight: 600 }
.soft { fill: #6b7280; font-size: 12px }
.value { font-weight: 600 }
.page { fill: #ffffff; stroke: #e5e7eb }
.grid { stroke: #e5e7eb; stroke-width: 1 }
.axis { stroke: #9ca3af; stroke-width: 1 }
.bar { fill: #cbd5e1 }
.ours { fill: #2563eb }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
.s0 { stroke: #2563eb } .m0 { fill: #2563eb }
.s1 { stroke: #d97706 } .m1 { fill: #d97706 }
.s2 { stroke: #0f9b8e } .m2 { fill: #0f9b8e }
.s3 { stroke: #c026d3 } .m3 { fill: #c026d3 }
.s4 { stroke: #64748b } .m4 { fill: #64748b }
.s5 { stroke: #dc2626 } .m5 { fill: #dc2626 }
@media (prefers-color-scheme: dark) {
text { fill: #e5e7eb }
.soft { fill: #9ca3af }
.page { fill: #0d1117; stroke: #30363d }
.grid { stroke: #23292f }
.axis { stroke: #6b7280 }
.bar { fill: #475569 }
.ours { fill: #60a5fa }
.s0 { stroke: #60a5fa } .m0 { fill: #60a5fa }
.s1 { stroke: #fbbf24 } .m1 { fill: #fbbf24 }
.s2 { stroke: #2dd4bf } .m2 { fill: #2dd4bf }
.s3 { stroke: #e879f9 } .m3 { fill: #e879f9 }
.s4 { stroke: #94a3b8 } .m4 { fill: #94a3b8 }
.s5 { stroke: #f87171 } .m5 { fill: #f87171 }
}
`

// canvas collects what is drawn; the height is known only at the end.
type canvas struct{ body bytes.Buffer }

func (c *canvas) draw(format string, args ...any) {
	fmt.Fprintf(&c.body, format+"\n", args...)
}

// text writes one line of text, escaped. The anchor is start, middle or end.
func (c *canvas) text(x, y float64, class, anchor, s string) {
	c.draw(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, escape(s))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	c.draw(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

// write puts the page and the style around what was drawn.
func (c *canvas) write(w io.Writer, title string, height float64) error {
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">
<title>%s</title>
<style>%s</style>
<rect class="page" x="0.5" y="0.5" width="%.0f" height="%.0f" rx="8"/>
%s</svg>
`, width, height, width, height, escape(title), style, width-1, height-1, c.body.String())
	return err
}

// escape makes text safe inside XML; what XML cannot hold becomes a replacement character.
func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}

// wide estimates how wide a text is drawn.
func wide(s string) float64 { return charWide * float64(utf8.RuneCountInString(s)) }

// wideBold is wide for text of greater weight.
func wideBold(s string) float64 { return 1.13 * wide(s) }

// cut shortens a text to a width.
func cut(s string, room float64) string {
	most := max(1, int(room/charWide+0.01))
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
