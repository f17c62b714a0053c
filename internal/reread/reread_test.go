package reread_test

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/internal/reread"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a file, a value that is its text, and a log. Files are written at the bubble's time.
type desk struct {
	t     *testing.T
	path  string
	log   strings.Builder
	looks int
	kept  *reread.Kept[string]
}

func newDesk(t *testing.T, text string) *desk {
	d := &desk{t: t, path: filepath.Join(t.TempDir(), "file")}
	d.write(text, 0)
	kept, err := reread.New(slog.New(slog.NewTextHandler(io.Writer(&d.log), nil)), []reread.File{{Path: d.path, Most: 100}},
		func(_ time.Time, texts []string, old *string) (*string, []error) {
			d.looks++
			switch {
			case strings.HasPrefix(texts[0], "bad"):
				return nil, []error{errors.New(texts[0])}
			case old != nil && *old == texts[0]:
				return old, nil
			}
			return &texts[0], nil
		}, func(old, new *string) { d.log.WriteString("from " + *old + " to " + *new + "\n") })
	require.NoError(t, err)
	d.kept = kept
	return d
}

func (d *desk) write(text string, later time.Duration) {
	d.t.Helper()
	require.NoError(d.t, os.WriteFile(d.path, []byte(text), 0o600))
	at := time.Now().Add(later)
	require.NoError(d.t, os.Chtimes(d.path, at, at))
}

func (d *desk) says(want string) {
	d.t.Helper()
	require.Equal(d.t, want, *d.kept.Get())
}

func TestFilesAreReadOnceASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, "one")
		require.Equal(t, 1, d.looks)
		for range 10 {
			time.Sleep(90 * time.Millisecond)
			d.says("one")
		}
		require.Equal(t, 1, d.looks)
		time.Sleep(100 * time.Millisecond)
		for range 10 {
			d.says("one")
		}
		require.Equal(t, 2, d.looks)
		time.Sleep(time.Hour)
		require.Equal(t, 2, d.looks, "nobody asks, nobody looks")
	})
}

// What is written just now may be half of it.
func TestAChangeCountsWhenItHasStood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, "one")
		time.Sleep(2 * time.Second)
		for range 5 { // someone writes without a rest
			d.write("bad", 0)
			time.Sleep(999 * time.Millisecond)
			d.says("one")
			time.Sleep(time.Millisecond / 2)
		}
		require.Empty(t, d.log.String(), "nothing is told of what is half written")
		d.write("two", 0)
		d.says("one")
		time.Sleep(time.Second)
		d.says("two")
		require.Equal(t, "from one to two\n", d.log.String())

		time.Sleep(time.Minute) // what has stood for long counts at once
		d.write("three", -time.Second)
		d.says("three")
	})
}

// Where the clock of who writes is ahead, what is the same twice has stood.
func TestAChangeOfTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, "one")
		time.Sleep(2 * time.Second)
		d.write("two", time.Hour)
		d.says("one")
		time.Sleep(time.Second)
		d.write("three", time.Hour)
		d.says("one")
		time.Sleep(time.Second)
		d.says("three")
	})
}

func TestWhatIsWrongIsToldOnceUntilItIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, "one")
		count := func(what string) int { return strings.Count(d.log.String(), what) }
		for i := range 3 {
			d.write("bad", -time.Second)
			for range 3 {
				time.Sleep(time.Second)
				d.says("one")
			}
			require.Equal(t, i+1, count("level=WARN msg=bad"))
			d.write("bad too", -time.Second)
			time.Sleep(time.Second)
			d.says("one")
			require.Equal(t, i+1, count(`level=WARN msg="bad too"`))
			require.ErrorContains(t, d.kept.Look(), "bad too")
			d.write("one", 0) // mended, but that does not count yet
			require.ErrorContains(t, d.kept.Look(), "bad too")
			require.Equal(t, i, count("level=INFO"))
			time.Sleep(time.Second)
			require.NoError(t, d.kept.Look())
			require.Equal(t, i+1, count(`level=INFO msg="nothing is wrong with the files any more" was="bad too"`))
		}
		require.Zero(t, count("from"))
	})
}

// Files that are read together count when all have stood, whichever was written last.
func TestFilesStandTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
		write := func(i int, later time.Duration) {
			require.NoError(t, os.WriteFile(paths[i], []byte(time.Now().String()), 0o600))
			at := time.Now().Add(later)
			require.NoError(t, os.Chtimes(paths[i], at, at))
		}
		write(0, 0)
		write(1, 0)
		kept, err := reread.New(nil, []reread.File{{Path: paths[0], Most: 100}, {Path: paths[1], Most: 100}},
			func(_ time.Time, texts []string, old *string) (*string, []error) {
				both := strings.Join(texts, " ")
				if old != nil && *old == both {
					return old, nil
				}
				return &both, nil
			}, func(_, _ *string) {})
		require.NoError(t, err)
		kept.Pace(0, time.Second)
		for i := range 2 {
			for _, later := range []time.Duration{0, time.Hour} {
				time.Sleep(time.Minute)
				before := kept.Get()
				write(1-i, -2*time.Second)
				write(i, later)
				require.Equal(t, before, kept.Get())
				time.Sleep(time.Second)
				after := kept.Get()
				require.NotEqual(t, before, after)
				write(i, -time.Second) // what is of the future would be so still
				kept.Get()
			}
		}
		time.Sleep(time.Minute)
		before := kept.Get()
		write(0, 0)
		write(1, time.Hour)
		for range 3 { // the same again and again, of which one was written just now
			require.Equal(t, before, kept.Get())
		}
		time.Sleep(time.Second)
		require.NotEqual(t, before, kept.Get())
	})
}
