package hello

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongSecrets(t *testing.T) {
	t.Parallel()
	many := func(last string) []string { return []string{"1", "2", "3", "4", last} }
	for name, c := range map[string]struct {
		server, asker []string
		text          string
	}{
		"another one":             {[]string{secret}, []string{other}, "the other has another one"},
		"several":                 {[]string{secret, "x"}, []string{other, "y"}, "the other has another one"},
		"the asker has none":      {[]string{secret}, nil, "this side has none"},
		"the server has none":     {nil, []string{secret}, "the other has none"},
		"the server's is empty":   {[]string{""}, []string{secret}, "the other has another one"},
		"the asker's is empty":    {[]string{secret}, []string{""}, "this side's are empty"},
		"both are empty":          {[]string{""}, []string{""}, "this side's are empty"},
		"the fifth of the asker":  {[]string{secret}, many(secret), "the other has another one"},
		"a secret that begins so": {[]string{secret}, []string{secret + "\x00"}, "the other has another one"},
		"empty ones are left out": {[]string{"", secret}, []string{"", secret}, ""},
		"the same one twice":      {[]string{"1"}, []string{secret, secret, secret, secret, "1"}, ""},
		"the fifth of the server": {many(secret), []string{secret}, ""},
		"the fourth of the asker": {[]string{secret}, []string{"1", "2", "3", secret}, ""},
		"several, another order":  {[]string{other, secret}, []string{secret, other}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, &Server{Secrets: these(c.server...)})
			a := newAsker(t, &Asker{Secrets: these(c.asker...)})
			if c.text == "" {
				requireAsk(t, a, p.at)
				require.Empty(t, p.told(t, 0))
				return
			}
			_, err := a.Ask(within(t), p.at, "", []byte("?"))
			require.ErrorIs(t, err, ErrForeign)
			require.ErrorContains(t, err, c.text)
			require.Zero(t, p.asked.Load())
			if told := p.told(t, 1)[0]; !slices.Equal(c.asker, []string{""}) {
				require.ErrorIs(t, told, ErrForeign)
			} else {
				require.ErrorIs(t, told, ErrSilent)
			}
		})
	}
}

// Processes that get a new secret one after another, in any order, while all ask all.
func TestSecretsAreExchangedWithoutAFailure(t *testing.T) {
	t.Parallel()
	const processes = 4
	type process struct {
		*place
		*Asker
		secrets atomic.Pointer[[]string]
	}
	all := make([]*process, processes)
	for i := range all {
		p := &process{}
		have := func() []string { return *p.secrets.Load() }
		p.secrets.Store(&[]string{"old"})
		p.place = newPlace(t, &Server{Secrets: have})
		p.Asker = newAsker(t, &Asker{Secrets: have})
		all[i] = p
	}
	everybody := func() {
		for _, from := range all {
			for _, to := range all {
				requireAsk(t, from.Asker, to.at)
			}
		}
	}
	stop := make(chan struct{})
	var meanwhile sync.WaitGroup
	for i, from := range all {
		meanwhile.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := from.Ask(within(t), all[n%processes].at, "", nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	everybody()
	for _, step := range [][]string{{"new", "old"}, {"new"}, {"new", "newer"}, {"newer", "new"}, {"newer"}} {
		for _, p := range all {
			p.secrets.Store(&step)
			everybody()
		}
	}
	close(stop)
	meanwhile.Wait()
	for _, p := range all {
		require.Empty(t, p.told(t, 0))
	}
}

func TestSecretThatIsWithdrawnEndsConnections(t *testing.T) {
	t.Parallel()
	for name, withdrawn := range map[string][]string{"another": {other}, "none": {}, "empty": {""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var secrets atomic.Pointer[[]string]
			secrets.Store(&[]string{secret})
			p := newPlace(t, &Server{Secrets: func() []string { return *secrets.Load() }})
			a := newAsker(t, &Asker{Secrets: these(secret)})
			requireAsk(t, a, p.at)
			asked := p.asked.Load()
			secrets.Store(&withdrawn)
			_, err := a.Ask(within(t), p.at, "", []byte("?"))
			require.ErrorIs(t, err, ErrForeign)
			require.Equal(t, asked, p.asked.Load())
		})
	}
	t.Run("by the asker", func(t *testing.T) {
		t.Parallel()
		var secrets atomic.Pointer[[]string]
		secrets.Store(&[]string{secret})
		var dialed, which atomic.Int64
		p := newPlace(t, &Server{Secrets: these(secret, other)})
		a := newAsker(t, &Asker{Secrets: func() []string { return *secrets.Load() }, Dial: counted(&dialed),
			Spoken: func(_ string, n int) { which.Add(int64(n)) }})
		requireAsk(t, a, p.at)
		secrets.Store(&[]string{"unknown", other})
		requireAsk(t, a, p.at)
		require.EqualValues(t, 2, dialed.Load())
		require.EqualValues(t, 1, which.Load(), "the first, and then the second")
		secrets.Store(&[]string{})
		_, err := a.Ask(within(t), p.at, "", nil)
		require.ErrorIs(t, err, ErrForeign)
	})
}

// The asker's order counts, not the server's.
func TestWhichSecretIsSpoken(t *testing.T) {
	t.Parallel()
	for _, accepted := range [][]string{{"x", other, secret}, {secret, other, "x"}} {
		p := newPlace(t, &Server{Secrets: these(accepted...)})
		for i, secrets := range [][]string{{secret, other}, {"unknown", secret, other}, {"unknown", "y", "z", other}} {
			which := -1
			a := newAsker(t, &Asker{Secrets: these(secrets...), Spoken: func(address string, n int) {
				require.Equal(t, p.at, address)
				which = n
			}})
			requireAsk(t, a, p.at)
			require.Equal(t, []int{0, 1, 3}[i], which)
		}
	}
}

// A secret that is withdrawn just after it was spoken on a new connection: the question was not heard, and is asked on another one.
func TestSecretThatIsWithdrawnAtOnce(t *testing.T) {
	t.Parallel()
	var times, dialed atomic.Int64
	p := newPlace(t, &Server{Secrets: func() []string {
		if times.Add(1) == 1 {
			return []string{secret}
		}
		return []string{other}
	}})
	a := newAsker(t, &Asker{Secrets: these(secret, other), Dial: counted(&dialed)})
	requireAsk(t, a, p.at)
	require.EqualValues(t, 2, dialed.Load())
	require.EqualValues(t, 2, p.asked.Load(), "each question once")
}
