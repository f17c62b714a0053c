package result

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// About says in a line what each work is.
type About struct{ Work, Text string }

// Table prints the rows of each work, and under them what must be known to read them.
func Table(w io.Writer, works []About, rows []Row) error {
	var b strings.Builder
	for _, work := range works {
		table(&b, work, rows)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func table(b *strings.Builder, work About, rows []Row) {
	fmt.Fprintf(b, "\n%s: %s\n", work.Work, work.Text)
	cells := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	shown, notes := "", newNotes()
	for _, r := range rows {
		if r.Work != work.Work {
			continue
		}
		if r.Case != shown {
			_ = cells.Flush() // a builder takes everything
			shown = r.Case
			fmt.Fprintf(b, "\n  %s\n", r.Case)
			fmt.Fprintf(cells, "%s\tmedian\t%s\tx floor\tx rolebus\t\n", left("system"), r.second())
		}
		fmt.Fprintf(cells, "%s\t%s %s\t%s\t%s\t%s\t\n", left(r.System+notes.mark(r)),
			Number(r.Median), r.Unit, r.spread(), ratio(r.PerFloor), ratio(r.PerOurs))
	}
	_ = cells.Flush()
	notes.write(b)
}

// left pads a first column, for a writer that aligns to the right.
func left(s string) string { return fmt.Sprintf("    %-40s", s) }

// second is the name of the second measured column.
func (r Row) second() string {
	switch {
	case r.Allocs != nil:
		return "allocs/op"
	case r.P99 > 0:
		return "p99"
	}
	return ""
}

func (r Row) spread() string {
	switch {
	case r.Allocs != nil:
		return fmt.Sprintf("%.3g", *r.Allocs)
	case r.P99 > 0 && r.Exact():
		return Number(r.P99)
	case r.P99 > 0:
		return "max " + Number(r.P99)
	}
	return ""
}

func ratio(v float64) string {
	if v == 0 {
		return "-"
	}
	return Number(v)
}

// Number writes a value with three digits that count, and thousands apart.
func Number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 999.5:
		return thousands(int(v + 0.5))
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// notes gives each note a number, once.
type notes struct {
	numbers map[string]int
	texts   []string
}

func newNotes() *notes { return &notes{numbers: map[string]int{}} }

// mark is what stands behind a system's name.
func (n *notes) mark(r Row) string {
	mark := ""
	if r.Role == Floor {
		mark = " (floor)"
	}
	for _, text := range r.Notes {
		if n.numbers[text] == 0 {
			n.texts = append(n.texts, text)
			n.numbers[text] = len(n.texts)
		}
		mark += fmt.Sprintf(" [%d]", n.numbers[text])
	}
	return mark
}

func (n *notes) write(b *strings.Builder) {
	if len(n.texts) > 0 {
		b.WriteByte('\n')
	}
	for i, text := range n.texts {
		fmt.Fprintf(b, "  [%d] %s\n", i+1, text)
	}
}
