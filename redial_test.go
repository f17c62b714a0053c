package rolebus

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestHowLongARedialWaits(t *testing.T) {
	ms := func(all ...int) (ds []time.Duration) {
		for _, d := range all {
			ds = append(ds, time.Duration(d)*time.Millisecond)
		}
		return ds
	}
	refused := errors.New("nats: Authorization Violation")
	for name, c := range map[string]struct {
		errs []error
		held time.Duration // how long each connection holds; 0: none is made
		most []time.Duration
	}{
		"a connection broke once":            {errs: []error{nil}, most: ms(10)},
		"no server answers":                  {errs: make([]error, 9), most: ms(10, 20, 40, 80, 160, 320, 500, 500, 500)},
		"a proxy without a server":           {errs: []error{nil, io.EOF, io.EOF, os.ErrDeadlineExceeded}, most: ms(10, 20, 40, 80)},
		"refused":                            {errs: []error{nil, refused, refused, refused, refused, refused}, most: ms(10, 500, 1000, 2000, 4000, 4000)},
		"refused, then nobody answers":       {errs: []error{nil, refused, nil, nil}, most: ms(10, 500, 500, 500)},
		"TLS fails":                          {errs: []error{nil, fmt.Errorf("%w: %w", nats.ErrTLS, os.ErrDeadlineExceeded)}, most: ms(10, 500)},
		"breaks, and holds in between":       {errs: make([]error, 4), held: 2 * time.Second, most: ms(10, 10, 10, 10)},
		"taken and ended again and again":    {errs: make([]error, 8), held: time.Millisecond, most: ms(10, 20, 40, 80, 160, 320, 500, 500)},
		"the first try was refused in words": {errs: []error{refused}, most: ms(500)},
	} {
		t.Run(name, func(t *testing.T) {
			r, now := &redial{}, time.Now()
			var most []time.Duration
			for i, err := range c.errs {
				n := i + 1
				if c.held > 0 {
					n = 1
				}
				wait := r.next(now, n, err)
				most = append(most, wait)
				now = now.Add(wait + c.held)
			}
			require.Equal(t, c.most, most)
		})
	}
}

func TestARefusalOfOneOfSeveralServersCounts(t *testing.T) {
	r, now := &redial{}, time.Now()
	require.Equal(t, firstRedial, r.next(now, 1, nil))
	r.hear(nats.ErrSlowConsumer)
	require.Equal(t, 2*firstRedial, r.next(now, 2, nil))
	r.hear(nats.ErrAuthExpired)
	require.Equal(t, redialWait, r.next(now, 3, nil))
	r.hear(nats.ErrAuthorization)
	require.Equal(t, 2*redialWait, r.next(now, 4, nil))
	require.Equal(t, firstRedial, r.next(now.Add(time.Minute), 1, nil), "a new outage")
}

func TestTheUsersDelaysHaveTheLastWord(t *testing.T) {
	mine := func(int) time.Duration { return time.Hour }
	for name, opts := range map[string][]nats.Option{
		"wait":        {nats.ReconnectWait(2 * time.Second)},
		"jitter":      {nats.ReconnectJitter(100*time.Millisecond, time.Second)},
		"a function":  {nats.CustomReconnectDelay(mine)},
		"none at all": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r, o := &redial{}, nats.GetDefaultOptions()
			for _, opt := range append(append(r.options(), opts...), r.option) {
				require.NoError(t, opt(&o))
			}
			require.Equal(t, 2*time.Second, o.ReconnectWait)
			require.Equal(t, 100*time.Millisecond, o.ReconnectJitter)
			require.Equal(t, time.Second, o.ReconnectJitterTLS)
			switch name {
			case "a function":
				require.Equal(t, time.Hour, o.CustomReconnectDelayCB(1))
			case "none at all":
				require.LessOrEqual(t, o.CustomReconnectDelayCB(1), firstRedial)
			default:
				require.Nil(t, o.CustomReconnectDelayCB)
			}
		})
	}
}

func TestWhatIsARefusal(t *testing.T) {
	for _, err := range []error{nil, io.EOF, os.ErrDeadlineExceeded, nats.ErrTimeout, &net.OpError{Op: "dial", Err: errors.New("x")}} {
		require.False(t, refusal(err), err)
	}
	for _, err := range []error{nats.ErrTLS, &net.OpError{Op: "write", Err: errors.New("broken pipe")}, nats.ErrSecureConnWanted, nats.ErrNoInfoReceived, os.ErrNotExist, errors.New("nats: maximum connections exceeded")} {
		require.True(t, refusal(err), err)
	}
}
