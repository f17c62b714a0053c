package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// screen is where the story is told: what happened, line by line, and below it the table of now. On a terminal the
// table stays below the last line and is redrawn in place; elsewhere it is printed after a line, if it has changed.
type screen struct {
	out   io.Writer
	live  bool
	color bool

	told   []string  // not yet written
	doing  string    // the step that comes next, or lasts; "" if there is none
	began  time.Time // when it began; zero if it comes next
	before []row     // the table then: what differs is marked
	below  []string  // live: what stands below the told lines
	rows   []row     // not live: the table that was printed last
	err    error     // why it could not be written: nobody is reading
}

// row is what the snapshots say of one node: its name, its process, its roles in either scope.
type row [4]string

var (
	header = row{"node", "process", "roles in " + shop, "roles in " + billing}
	widths = [4]int{11, 10, 22, 26} // and the times: 79 columns in all
)

const (
	indent = "          " // as wide as a stamp

	bold  = "1"
	dim   = "2"
	green = "1;32"
)

func (s *screen) title(line string, rows []row) {
	s.told, s.rows = append(s.told, s.paint(bold, line), ""), rows
}

// next says which step comes.
func (s *screen) next(doing string, rows []row) {
	s.doing, s.began = doing, time.Time{}
	s.draw(rows)
}

// begin says that a step has begun.
func (s *screen) begin(at time.Time, doing string, rows []row) {
	s.doing, s.began, s.before = doing, at, rows
	s.draw(rows)
}

// tell says what happened, and how long it took.
func (s *screen) tell(took time.Duration, line string, rows []row) {
	s.doing, s.told = "", append(s.told, stamp(took)+line)
	s.draw(rows)
}

// draw brings the screen up to date.
func (s *screen) draw(rows []row) {
	if s.live {
		s.redraw(rows)
		return
	}
	changed := s.doing == "" && !slices.Equal(rows, s.rows)
	if changed {
		s.told = append(append(append(s.told, ""), s.table(rows)...), "")
		s.rows = rows
	}
	for _, line := range s.told {
		s.write(line + "\n")
	}
	s.told = nil
}

// redraw writes the told lines over the old table, and the new table below them, all in one write so that nothing
// flickers. The cursor rests on the line after the table.
func (s *screen) redraw(rows []row) {
	below := append([]string{""}, s.table(rows)...)
	if s.doing != "" {
		below = append([]string{s.paint(dim, s.coming())}, below...)
	}
	if len(s.told) == 0 && slices.Equal(below, s.below) {
		return
	}
	var frame strings.Builder
	frame.WriteString("\x1b[?7l\r") // a narrow terminal cuts lines: wrapped ones would be counted wrong
	if up := len(s.below); up > 0 {
		fmt.Fprintf(&frame, "\x1b[%dA", up)
	}
	for _, line := range append(s.told, below...) {
		frame.WriteString(line + "\x1b[K\n")
	}
	frame.WriteString("\x1b[J\x1b[?7h")
	s.write(frame.String())
	s.told, s.below = nil, below
}

func (s *screen) write(text string) {
	if _, err := io.WriteString(s.out, text); err != nil && s.err == nil {
		s.err = err
	}
}

// coming is the line of the step that comes next, or lasts.
func (s *screen) coming() string {
	if s.began.IsZero() {
		return indent + "next: " + s.doing
	}
	return fmt.Sprintf("%5.1f s   %s ...", time.Since(s.began).Seconds(), s.doing)
}

func (s *screen) table(rows []row) []string {
	var lines []string
	for i, cells := range append([]row{header}, rows...) {
		line := indent
		for j, cell := range cells {
			code := ""
			switch {
			case i == 0:
				code = dim
			case cell == "":
				cell, code = "-", dim
			case i <= len(s.before) && cell != s.before[i-1][j]:
				code = green
			}
			line += s.paint(code, cell) + strings.Repeat(" ", max(widths[j]-len(cell), 1))
		}
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
}

func (s *screen) paint(code, text string) string {
	if !s.color || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// stamp is how long something took, as it stands before a line.
func stamp(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%5.1f ms  ", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%5d ms  ", d.Milliseconds())
	}
	return fmt.Sprintf("%5.2f s   ", d.Seconds())
}
