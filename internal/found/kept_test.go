package found

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var errHalf = errors.New("half of it")

func TestOnlyAWholeListLetsAnythingGo(t *testing.T) {
	for _, tc := range []struct {
		name    string
		before  string
		told    string
		err     error
		want    string
		changed bool
		problem error
	}{
		{"the first list", "", "ab", nil, "ab", true, nil},
		{"the first part", "", "ab", errHalf, "ab", true, errHalf},
		{"the first failure", "", "", errHalf, "", false, errHalf},
		{"nothing at first", "", "", nil, "", false, ErrEmpty},
		{"comes", "ab", "abc", nil, "abc", true, nil},
		{"goes", "abc", "ac", nil, "ac", true, nil},
		{"another one", "ab", "c", nil, "c", true, nil},
		{"the same", "ab", "ab", nil, "ab", false, nil},
		{"the same in another order", "abc", "cab", nil, "abc", false, nil},
		{"duplicates", "ab", "babab", nil, "ab", false, nil},
		{"duplicates that come", "", "abab", nil, "ab", true, nil},
		{"empty", "ab", "", nil, "ab", false, ErrEmpty},
		{"a failure", "ab", "", errHalf, "ab", false, errHalf},
		{"a part", "abc", "b", errHalf, "abc", false, errHalf},
		{"a part that has another one", "ab", "cb", errHalf, "cba", true, errHalf},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := Kept[rune]{[]rune(tc.before)}
			changed, problem := k.Take([]rune(tc.told), tc.err)
			require.Equal(t, tc.want, string(k.List()))
			require.Equal(t, tc.changed, changed)
			require.Equal(t, tc.problem, problem)
		})
	}
}

func numbers(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func TestOfTooManyAlwaysTheSameAreKept(t *testing.T) {
	var k Kept[int]
	_, problem := k.Take(numbers(0, 10_000), nil)
	require.ErrorIs(t, problem, ErrTooMany)
	require.Equal(t, numbers(0, Most), k.List())
	backwards := numbers(0, 10_000)
	slices.Reverse(backwards)
	changed, problem := k.Take(backwards, nil)
	require.ErrorIs(t, problem, ErrTooMany)
	require.False(t, changed, "whatever the order")

	// A part makes no room: what stands is not a part's to end.
	changed, problem = k.Take(numbers(20_000, 30_000), errHalf)
	require.Equal(t, errHalf, problem)
	require.False(t, changed)
	k = Kept[int]{numbers(0, Most-2)}
	changed, _ = k.Take(numbers(Most-10, Most+10), errHalf)
	require.True(t, changed)
	require.Len(t, k.List(), Most)
	require.Subset(t, k.List(), numbers(0, Most), "and two more came")

	// Most is not too many, nor are duplicates.
	k = Kept[int]{}
	_, problem = k.Take(slices.Concat(numbers(0, Most), numbers(0, Most)), nil)
	require.NoError(t, problem)
	_, problem = k.Take(numbers(10, Most+10), nil)
	require.NoError(t, problem)
	require.Equal(t, numbers(10, Most+10), k.List(), "whoever goes makes room")
}

func TestWhatIsKeptIsNobodyElses(t *testing.T) {
	told := []int{1, 2}
	var k Kept[int]
	k.Take(told, nil)
	before := k.List()
	told[0] = 7
	k.Take([]int{3}, errHalf)
	require.Equal(t, []int{1, 2}, before)
	require.Equal(t, []int{3, 1, 2}, k.List())
}

// Whatever comes, in whatever order: it is what the plain rule says, no list is too long, nothing is there twice.
func TestKeptByChance(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		var k Kept[int]
		plain := map[int]bool{}
		size := []int{5, Most - 3, 2 * Most}[r.IntN(3)]
		for step := range 12 {
			told := make([]int, r.IntN(size))
			for i := range told {
				told[i] = r.IntN(size)
			}
			err := []error{nil, errHalf}[r.IntN(2)]
			before := slices.Clone(k.List())
			changed, problem := k.Take(told, err)
			what := fmt.Sprintf("seed %d, step %d", seed, step)

			has := map[int]bool{}
			for _, n := range k.List() {
				if has[n] {
					t.Fatalf("%s: %d is there twice", what, n)
				}
				has[n] = true
			}
			require.LessOrEqual(t, len(has), Most, what)
			came, went := Diff(before, k.List())
			require.Equal(t, changed, len(came)+len(went) > 0, what)
			if err != nil || len(told) == 0 {
				require.Empty(t, went, what)
				require.Error(t, problem, what)
			}
			said := map[int]bool{}
			for _, n := range told {
				said[n] = true
			}
			for _, n := range came {
				if !said[n] {
					t.Fatalf("%s: %d was not told", what, n)
				}
			}
			for _, n := range went {
				if said[n] {
					t.Fatalf("%s: %d was told, and went", what, n)
				}
			}
			if err == nil && len(told) > 0 {
				clear(plain)
			}
			for _, n := range told {
				plain[n] = true
			}
			if problem != nil && errors.Is(problem, ErrTooMany) {
				require.Len(t, has, Most, what)
			}
			if len(plain) <= Most && size <= Most {
				require.Equal(t, plain, has, what)
			}
		}
	}
}

func TestDiff(t *testing.T) {
	came, went := Diff([]rune("abc"), []rune("cdbe"))
	require.Equal(t, "de", string(came))
	require.Equal(t, "a", string(went))
}

// wordless is an error that has nothing to say.
type wordless struct{ text string }

func (w *wordless) Error() string { return w.text }

func TestEachErrorHasAText(t *testing.T) {
	require.NoError(t, Tame(nil))
	require.Equal(t, errHalf, Tame(errHalf))
	require.EqualError(t, Tame((*wordless)(nil)), "an error of type *found.wordless, whose text panics")
	empty := &wordless{" "}
	require.ErrorContains(t, Tame(empty), "an error of type *found.wordless without a text")
	require.ErrorIs(t, Tame(empty), empty)
}
