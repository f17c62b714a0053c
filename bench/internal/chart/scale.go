package chart

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// beyond this ratio of the largest to the smallest value, small bars could not be told apart on a linear scale.
const linearUpTo = 20

// scale maps values to pixels.
type scale struct {
	low, high float64 // values at the two ends
	from, to  float64 // pixels at the two ends
	log       bool
}

// barScale begins at zero, or, where values are too far apart for that, below the smallest one and counts decades.
func barScale(values []float64, from, to float64) scale {
	least, most := math.Inf(1), 0.0
	for _, v := range values {
		most = max(most, v)
		if v > 0 {
			least = min(least, v)
		}
	}
	switch {
	case most == 0:
		return scale{high: 1, from: from, to: to}
	case most/least <= linearUpTo:
		return scale{high: most, from: from, to: to}
	}
	low := decadeBelow(least * 0.7) // so that the shortest bar is one
	return scale{low: low, high: most, from: from, to: to, log: true}
}

// axisScale counts decades and leaves a little room at both ends.
func axisScale(least, most, from, to float64) scale {
	room := math.Pow(max(most/least, 2), 0.05)
	return scale{low: least / room, high: most * room, from: from, to: to, log: true}
}

// at returns the pixel of a value. On a logarithmic scale, what is at or below its low end is at its beginning.
func (s scale) at(v float64) float64 {
	part := (v - s.low) / (s.high - s.low)
	if s.log {
		part = math.Log(max(v, s.low)/s.low) / math.Log(s.high/s.low)
	}
	return s.from + part*(s.to-s.from)
}

// ticks returns the round values of the scale: decades, or 1, 2 and 5 of each where there are few; on a linear scale some
// five steps.
func (s scale) ticks() []float64 {
	if !s.log {
		return s.linearTicks()
	}
	steps := []float64{1}
	if s.high/s.low < 150 {
		steps = []float64{1, 2, 5}
	}
	var out []float64
	for decade := decadeBelow(s.low); decade <= s.high; decade *= 10 {
		for _, step := range steps {
			if v := decade * step; v >= s.low*(1-1e-9) && v <= s.high*(1+1e-9) {
				out = append(out, v)
			}
		}
	}
	return out
}

func (s scale) linearTicks() []float64 {
	step := decadeBelow(s.high / 2)
	for _, by := range []float64{1, 2, 5} {
		if s.high/(step*by) <= 6 {
			step *= by
			break
		}
	}
	var out []float64
	for i := 0; float64(i)*step <= s.high*(1+1e-9); i++ {
		out = append(out, float64(i)*step)
	}
	return out
}

func decadeBelow(v float64) float64 { return math.Pow(10, math.Floor(math.Log10(v)+1e-9)) }

// number writes a value with three digits that count, and thousands apart.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1e9:
		return number(v/1e9) + "G"
	case v >= 1e6:
		return number(v/1e6) + "M"
	case v < 1e-4:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	places := max(0, 2-int(math.Floor(math.Log10(v))))
	text := fmt.Sprintf("%.*f", places, v)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if whole, _, _ := strings.Cut(text, "."); len(whole) > 3 {
		text = text[:len(whole)-3] + "," + text[len(whole)-3:]
	}
	return text
}
