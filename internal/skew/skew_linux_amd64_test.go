package skew

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test's own binary is the child: for each line that it reads it says what time it is.
func TestMain(m *testing.M) {
	if os.Getenv(Variable) == "" {
		os.Exit(m.Run())
	}
	if err := tell(); err != nil {
		panic(err)
	}
}

// reading is what a child's clocks say.
type reading struct {
	Wall time.Time     // without the monotonic part: JSON has none
	Mono time.Duration // since it began
}

func tell() error {
	if err := Attach(); err != nil {
		return err
	}
	began, in, out := time.Now(), bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		if err := out.Encode(reading{time.Now(), time.Since(began)}); err != nil {
			return err
		}
	}
	return in.Err()
}

type child struct {
	cmd *exec.Cmd
	in  io.Writer
	out *json.Decoder
}

func start(t *testing.T) (*Clock, *child) {
	t.Helper()
	c, err := New(t.TempDir())
	require.NoError(t, err)
	p := &child{cmd: exec.Command(os.Args[0])}
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), c.Env()), os.Stderr
	in, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.in, p.out = in, json.NewDecoder(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, p.cmd.Wait())
	})
	return c, p
}

// look returns what the child's clocks say, and between which moments that was.
func (p *child) look(t *testing.T) (r reading, from, to time.Time) {
	t.Helper()
	from = time.Now()
	_, err := io.WriteString(p.in, "\n")
	require.NoError(t, err)
	require.NoError(t, p.out.Decode(&r))
	return r, from, time.Now()
}

func TestAWallClockIsSet(t *testing.T) {
	t.Parallel()
	c, p := start(t)
	ahead := time.Duration(0)
	began, first, second := p.look(t)
	for _, by := range []time.Duration{0, time.Hour, -2 * time.Hour, 1500 * time.Millisecond, -700 * time.Millisecond, 1, -1} {
		c.Step(by)
		ahead += by
		r, from, to := p.look(t)
		require.False(t, r.Wall.Before(from.Round(0).Add(ahead)), "%v before %v", r.Wall, from)
		require.False(t, r.Wall.After(to.Round(0).Add(ahead)), "%v after %v", r.Wall, to)
		require.LessOrEqual(t, r.Mono-began.Mono, to.Sub(first), "the other clock goes on as it did")
		require.GreaterOrEqual(t, r.Mono-began.Mono, from.Sub(second))
	}
}

func TestAMachineSleeps(t *testing.T) {
	t.Parallel()
	const long = 200 * time.Millisecond
	c, p := start(t)
	began, first, _ := p.look(t)
	for n := time.Duration(1); n < 4; n++ {
		require.NoError(t, c.Sleep(p.cmd.Process, long))
		r, from, to := p.look(t)
		require.False(t, r.Wall.Before(from.Round(0)), "%v before %v", r.Wall, from)
		require.False(t, r.Wall.After(to.Round(0)), "%v after %v", r.Wall, to)
		require.LessOrEqual(t, r.Mono-began.Mono, to.Sub(first)-n*long, "the other clock stood still")
		require.Greater(t, r.Mono, began.Mono)
	}
}

func TestMoreStepsThanSlots(t *testing.T) {
	t.Parallel()
	c, p := start(t)
	for range 3 * slots {
		c.Step(time.Minute)
	}
	ahead := 3 * time.Duration(slots) * time.Minute
	r, from, to := p.look(t)
	require.False(t, r.Wall.Before(from.Round(0).Add(ahead)), "%v before %v", r.Wall, from)
	require.False(t, r.Wall.After(to.Round(0).Add(ahead)), "%v after %v", r.Wall, to)
}

func TestWithoutAClockNothingIsDone(t *testing.T) {
	require.NoError(t, Attach())
	require.Zero(t, clocks)
}
