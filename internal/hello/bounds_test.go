package hello

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (s *Server) counts() (strangers, known int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.strangers), len(s.known)
}

// quiet waits until nobody is being answered: an answer is there a moment before its server knows.
func (p *place) quiet(t *testing.T) {
	soon(t, func() bool {
		p.Server.mu.Lock()
		defer p.Server.mu.Unlock()
		return !slices.ContainsFunc(p.known, func(v *visitor) bool { return v.answering })
	})
}

// Connections without number, that say nothing, or begin as ours do and then say nothing: ours get in between them, on new connections.
func TestFloodOfStrangers(t *testing.T) {
	t.Parallel()
	for name, says := range map[string][]byte{"silent": nil, "opening": opens(1, 1), "half": opens(1, 1)[:10]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, &Server{Secrets: these(secret)})
			stop := make(chan struct{})
			var flood sync.WaitGroup
			var came atomic.Int64
			for range 2 {
				flood.Go(func() {
					held := make([]net.Conn, 200) // more than the server has place for
					for i := 0; ; i++ {
						select {
						case <-stop:
							for _, conn := range held {
								if conn != nil {
									_ = conn.Close()
								}
							}
							return
						default:
						}
						conn, err := net.DialTimeout("tcp", p.at, time.Second)
						if err != nil {
							continue
						}
						came.Add(1)
						_, _ = conn.Write(says)
						if old := held[i%len(held)]; old != nil {
							_ = old.Close()
						}
						held[i%len(held)] = conn
					}
				})
			}
			soon(t, func() bool { return came.Load() > 500 })
			for range 20 {
				a := &Asker{Secrets: these(secret)}
				requireAsk(t, a, p.at)
				a.Close()
				strangers, _ := p.counts()
				require.LessOrEqual(t, strangers, usual.strangers)
			}
			close(stop)
			flood.Wait()
			for _, err := range p.told(t, 1) {
				require.ErrorIs(t, err, ErrSilent)
			}
			soon(t, func() bool { strangers, known := p.counts(); return strangers+known == 0 })
		})
	}
}

func TestStrangersMakeRoom(t *testing.T) {
	t.Parallel()
	few := usual
	few.strangers, few.grace = 4, 0
	p := newPlace(t, &Server{Secrets: these(secret), limits: few})
	var all []net.Conn
	for i := range 10 {
		conn, err := net.Dial("tcp", p.at)
		require.NoError(t, err)
		defer conn.Close()
		if i == 0 {
			_, err = conn.Write(opens(1, 1))
			require.NoError(t, err)
			_, err = readOpening(conn)
			require.NoError(t, err)
		} else {
			all = append(all, conn)
		}
		if i == 5 {
			requireClosed(t, all[0])
		}
	}
	for _, conn := range all[:6] { // the oldest that have said nothing
		require.Empty(t, requireClosed(t, conn))
	}
	for _, err := range p.told(t, 6) {
		require.ErrorContains(t, err, "had to make room")
	}
	strangers, _ := p.counts()
	require.Equal(t, 4, strangers)
}

func TestWhoGoesFirst(t *testing.T) {
	t.Parallel()
	began := time.Now()
	at := func(from string, stage stage, after int) *visitor {
		return &visitor{from: netip.MustParsePrefix(from), stage: stage, since: began.Add(time.Duration(after))}
	}
	const a, b = "10.0.0.1/32", "10.0.0.2/32"
	busy := at(a, proved, 0)
	busy.answering = true
	for name, c := range map[string]struct {
		crowd crowd
		first int
	}{
		"nobody":                    {crowd{}, -1},
		"the oldest":                {crowd{at(a, silent, 2), at(a, silent, 1), at(a, silent, 3)}, 1},
		"who has said least":        {crowd{at(a, opened, 1), at(a, speaks, 2), at(a, silent, 3)}, 2},
		"of who has most":           {crowd{at(b, silent, 1), at(a, opened, 2), at(a, opened, 3)}, 1},
		"nobody that is answered":   {crowd{busy, at(a, proved, 5), at(b, proved, 4)}, 1},
		"nobody, if all are":        {crowd{busy, busy}, -1},
		"the oldest, if all differ": {crowd{at(a, silent, 2), at(b, silent, 1)}, 1},
	} {
		first := c.crowd.first()
		if c.first < 0 {
			require.Nil(t, first, name)
		} else {
			require.Same(t, c.crowd[c.first], first, name)
		}
	}
}

type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

func TestMachines(t *testing.T) {
	t.Parallel()
	from := func(a net.Addr) netip.Prefix { return newVisitor(addressed{from: a}).from }
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	require.Equal(t, from(tcp("10.0.0.1:1")), from(tcp("10.0.0.1:2")))
	require.Equal(t, from(tcp("10.0.0.1:1")), from(tcp("[::ffff:10.0.0.1]:2")))
	require.NotEqual(t, from(tcp("10.0.0.1:1")), from(tcp("10.0.0.2:1")))
	require.Equal(t, from(tcp("[2001:db8::1]:1")), from(tcp("[2001:db8::ffff:2]:1")))
	require.NotEqual(t, from(tcp("[2001:db8::1]:1")), from(tcp("[2001:db8:0:1::1]:1")))
	require.True(t, from(tcp("[fe80::1%eth0]:1")).IsValid())
	require.False(t, from(&net.UnixAddr{}).IsValid())
}

// Who is slow has an end, however little at a time it says.
func TestSlowStrangers(t *testing.T) {
	t.Parallel()
	impatient := usual
	impatient.prove = 30 * time.Millisecond
	p := newPlace(t, &Server{Secrets: these(secret), limits: impatient})
	slowly := func(conn net.Conn, b []byte) {
		for _, c := range b {
			if _, err := conn.Write([]byte{c}); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond) // the pace of the attack
		}
	}
	conn, err := net.Dial("tcp", p.at)
	require.NoError(t, err)
	defer conn.Close()
	slowly(conn, append(opens(1, 1), make([]byte, 64)...))
	requireClosed(t, conn)
	require.ErrorIs(t, p.told(t, 1)[0], ErrSilent)
	require.ErrorContains(t, p.told(t, 1)[0], "within 30ms")

	impatient = usual
	impatient.frame = 30 * time.Millisecond
	open := newPlace(t, &Server{limits: impatient})
	conn, err = net.Dial("tcp", open.at)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(append(opens(1, 0), 0, 0, 1, 0))
	require.NoError(t, err)
	slowly(conn, make([]byte, 256))
	require.Len(t, requireClosed(t, conn), len(opening{})+len(verdict{}))
	require.Zero(t, open.asked.Load())
}

// Who asks and takes no answer has an end, too.
func TestWhoTakesNoAnswer(t *testing.T) {
	t.Parallel()
	impatient := usual
	impatient.frame = 30 * time.Millisecond
	p := newPlace(t, &Server{limits: impatient, Answer: func(net.Addr, []byte) []byte { return make([]byte, Most) }})
	conn, err := net.Dial("tcp", p.at)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(opens(1, 0))
	require.NoError(t, err)
	for err == nil { // until what is between them is full, and the server gives up
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(20*time.Second)))
		_, err = conn.Write(make([]byte, 4000))
	}
	soon(t, func() bool { _, known := p.counts(); return known == 0 })
}

func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	impatient := usual
	impatient.idle = time.Millisecond
	for _, mode := range []byte{0, 1} {
		p := newPlace(t, &Server{Secrets: [](func() []string){nil, these(secret)}[mode], limits: impatient})
		mine := opening(opens(1, mode))
		conn, err := net.Dial("tcp", p.at)
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write(mine[:])
		require.NoError(t, err)
		theirs, err := readOpening(conn)
		require.NoError(t, err)
		if mode == 1 {
			_, err = proveAll(conn, []string{secret}, &mine, &theirs)
			require.NoError(t, err)
		}
		require.Len(t, requireClosed(t, conn), len(verdict{}))
		require.Empty(t, p.told(t, 0))
	}
}

// More than may be connected all get their answers, one after another.
func TestKnownMakeRoom(t *testing.T) {
	t.Parallel()
	few := usual
	few.known = 2
	p := newPlace(t, &Server{Secrets: these(secret), limits: few})
	var all []*Asker
	for range 5 {
		all = append(all, newAsker(t, &Asker{Secrets: these(secret)}))
	}
	for range 5 {
		for _, a := range all {
			p.quiet(t)
			requireAsk(t, a, p.at)
			_, known := p.counts()
			require.LessOrEqual(t, known, 2)
		}
	}
	require.Empty(t, p.told(t, 0))
}

// Who asked last stays.
func TestWhoAskedLongestAgoMakesRoom(t *testing.T) {
	t.Parallel()
	few := usual
	few.known = 2
	p := newPlace(t, &Server{Secrets: these(secret), limits: few})
	var dialed [3]atomic.Int64
	var all []*Asker
	for i := range dialed {
		all = append(all, newAsker(t, &Asker{Secrets: these(secret), Dial: counted(&dialed[i])}))
	}
	for _, i := range []int{0, 1, 0, 2, 0, 1} { // the third has the second go, and the second the third
		p.quiet(t)
		requireAsk(t, all[i], p.at)
	}
	require.EqualValues(t, 1, dialed[0].Load())
	require.EqualValues(t, 2, dialed[1].Load())
}

func TestFull(t *testing.T) {
	t.Parallel()
	few := usual
	few.known = 1
	heard, release := make(chan struct{}), make(chan struct{})
	p := newPlace(t, &Server{Secrets: these(secret), limits: few, Answer: func(_ net.Addr, question []byte) []byte {
		if string(question) == "wait" {
			close(heard)
			<-release
		}
		return question
	}})
	a := newAsker(t, &Asker{Secrets: these(secret)})
	done := make(chan error)
	go func() {
		_, err := a.Ask(within(t), p.at, "", []byte("wait"))
		done <- err
	}()
	<-heard
	_, err := a.Ask(within(t), p.at, "", nil)
	require.ErrorIs(t, err, ErrFull)
	require.ErrorIs(t, p.told(t, 1)[0], ErrFull)
	close(release)
	require.NoError(t, <-done)
	p.quiet(t)
	_, err = newAsker(t, &Asker{Secrets: these(secret)}).Ask(within(t), p.at, "", nil)
	require.NoError(t, err)
}
