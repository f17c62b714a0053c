package exclusive

import (
	"slices"
	"strings"
)

// shrink makes a history that breaks something as short as it finds it in reasonable time.
func shrink(draws []uint32, violation string, lossy bool) []uint32 {
	what, _, _ := strings.Cut(violation, ":")
	breaks := func(try []uint32) bool {
		w := live(&tape{draws: try}, lossy, false)
		return strings.HasPrefix(w.violation, what+":")
	}
	best := slices.Clone(draws)
	for budget, improved := 20_000, true; improved && budget > 0; {
		improved = false
		for size := max(len(best)/2, 1); size > 0; size /= 2 {
			for at := 0; at < len(best) && budget > 0; {
				budget--
				try := slices.Delete(slices.Clone(best), at, min(at+size, len(best)))
				if breaks(try) {
					best, improved = try, true
					continue
				}
				at += size
			}
		}
		for i := range best {
			if best[i] == 0 || budget <= 0 {
				continue
			}
			budget--
			try := slices.Clone(best)
			try[i] = 0
			if breaks(try) {
				best, improved = try, true
			}
		}
	}
	return best
}
