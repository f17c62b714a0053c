package hello

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// stranger sends something to a server, closes its side, and returns what comes back.
func stranger(t *testing.T, address string, says []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(says)
	require.NoError(t, err)
	_ = conn.(*net.TCPConn).CloseWrite() // which fails if the other has gone already
	return requireClosed(t, conn)
}

func opens(version, mode byte) []byte {
	o := newOpening(inClear)
	o[3], o[4] = version, mode
	return o[:]
}

func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	random := make([]byte, 1000)
	_, _ = rand.Read(random)
	random[0] = 0xff
	const learns = len(opening{}) // from an opening it learns that this is the place
	for name, c := range map[string]struct {
		says string
		is   error
		most int
	}{
		"nothing":                {"", ErrSilent, 0},
		"HTTP":                   {"GET / HTTP/1.1\r\nHost: here\r\n\r\n", ErrNone, 0},
		"NATS":                   {"CONNECT {}\r\nPING\r\n", ErrNone, 0},
		"random":                 {string(random), ErrNone, 0},
		"a beginning":            {"rb", ErrSilent, 0},
		"almost":                 {"rbg\x01" + string(random), ErrNone, 0},
		"part of an opening":     {string(opens(1, 1)[:20]), ErrSilent, 0},
		"an opening":             {string(opens(1, 1)), ErrSilent, learns},
		"another version":        {string(opens(2, 1)), ErrVersion, learns},
		"another version, short": {"rbh\x02", ErrVersion, learns},
		"in the clear":           {string(opens(1, 0)) + "\x00\x00\x00\x01?", ErrForeign, learns},
		"an unknown mode":        {string(opens(1, 7)), ErrForeign, learns},
		"false proofs":           {string(opens(1, 1)) + string(random[:64]), ErrForeign, learns + len(verdict{})},
		"part of the proofs":     {string(opens(1, 1)) + string(random[:63]), ErrSilent, learns},
		"proofs and a question":  {string(opens(1, 1)) + string(random), ErrForeign, learns + len(verdict{})},
		"no proofs":              {string(opens(1, 1)) + strings.Repeat("\x00", 64), ErrForeign, learns + len(verdict{})},
		"TLS":                    {"\x16\x03\x01\x00\x05hello", ErrTLS, learns},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, &Server{Secrets: these(secret)})
			got := stranger(t, p.at, []byte(c.says))
			require.Len(t, got, c.most)
			told := p.told(t, 1)
			require.ErrorIs(t, told[0], c.is)
			if c.is == ErrVersion {
				require.ErrorContains(t, told[0], "speaks version 2, and this is 1")
			}
			if len(got) > learns {
				require.Equal(t, append([]byte{foreign}, make([]byte, 17)...), got[learns:])
			}
			require.Zero(t, p.asked.Load())
			requireAsk(t, newAsker(t, &Asker{Secrets: these(secret)}), p.at)
			require.Len(t, p.told(t, 1), 1)
		})
	}
}

// fake is what is no server of ours, and answers as it likes.
func fake(t *testing.T, answers func(net.Conn)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			answers(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// says answers with some bytes once it has read the opening, and waits until the asker goes.
func says(b string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = readOpening(conn)
		_, _ = io.WriteString(conn, b)
		_, _ = io.Copy(io.Discard, conn)
	}
}

func TestWhatAnAskerTellsOfStrangers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers func(net.Conn)
		is      error
		text    string
	}{
		"NATS":                {says("INFO {\"server_id\":\"N\"}\r\n"), ErrNone, `it begins with "INFO {\"server_id"`},
		"HTTP":                {says("HTTP/1.1 400 Bad Request\r\n"), ErrNone, `it begins with "HTTP/1.1 400 Bad"`},
		"one byte":            {says("x"), ErrNone, `"x"`},
		"unprintable":         {says("\x00\x1b"), ErrNone, `"\x00\x1b"`},
		"an alert of TLS":     {says("\x15\x03\x01\x00\x02\x02\x46"), ErrTLS, "the other speaks TLS"},
		"another version":     {says("rbh\x09"), ErrVersion, "speaks version 9, and this is 1"},
		"wants TLS":           {says(string(opens(1, 2))), ErrTLS, "the other wants TLS"},
		"in the clear":        {says(string(opens(1, 0))), ErrForeign, "the other has none"},
		"an unknown mode":     {says(string(opens(1, 7))), ErrForeign, "the other has none"},
		"has another":         {says(string(opens(1, 1)) + string([]byte{foreign}) + strings.Repeat("\x00", 17)), ErrForeign, "another one"},
		"is full":             {says(string(opens(1, 1)) + string([]byte{full}) + strings.Repeat("\x00", 17)), ErrFull, ""},
		"unknown verdict":     {says(string(opens(1, 1)) + "\x09" + strings.Repeat("\x00", 17)), ErrNone, "verdict 9"},
		"pretends":            {says(string(opens(1, 1)) + "\x01" + strings.Repeat("\x00", 17)), ErrForeign, "cannot prove it"},
		"pretends of another": {says(string(opens(1, 1)) + "\x01\xff" + strings.Repeat("\x00", 16)), ErrForeign, "cannot prove it"},
		"echoes":              {func(conn net.Conn) { _, _ = io.Copy(conn, conn) }, ErrNone, "echoes"},
		"closes":              {func(net.Conn) {}, errLost, ""},
		"closes early":        {func(conn net.Conn) { _, _ = io.WriteString(conn, "rb") }, errLost, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, &Asker{Secrets: these(secret)})
			_, err := a.Ask(within(t), fake(t, c.answers), "", []byte("?"))
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func TestFramesThatAreNone(t *testing.T) {
	t.Parallel()
	welcomes := string(opens(1, 0)) + "\x01" + strings.Repeat("\x00", 17)
	for name, c := range map[string]struct {
		frame string
		is    error
	}{
		"too long":        {"\x00\x01\x00\x01", ErrLong},
		"much too long":   {"\xff\xff\xff\xfe", ErrLong},
		"not heard":       {"\xff\xff\xff\xff", errAgain},
		"cut off":         {"\x00\x00\x00\x02x", io.ErrUnexpectedEOF},
		"cut off earlier": {"\x00\x00", io.ErrUnexpectedEOF},
		"none":            {"", io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, &Asker{})
			_, err := a.Ask(within(t), fake(t, func(conn net.Conn) {
				_, _ = io.ReadFull(conn, make([]byte, len(opening{})))
				_, _ = io.WriteString(conn, welcomes)
				_, _ = io.ReadFull(conn, make([]byte, 5))
				_, _ = io.WriteString(conn, c.frame)
			}), "", []byte("?"))
			require.ErrorIs(t, err, c.is)

			p := newPlace(t, &Server{})
			got := stranger(t, p.at, []byte(string(opens(1, 0))+c.frame))
			require.Len(t, got, len(welcomes))
			require.Zero(t, p.asked.Load())
			if c.is == ErrLong || c.is == errAgain { // which only an answer can be
				require.ErrorIs(t, p.told(t, 1)[0], ErrLong)
			}
		})
	}
}

// The real ones, and they do not mind us either.
func TestServersAndClientsOfOtherKinds(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, HTTPHost: "127.0.0.1", HTTPPort: -1, NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	require.True(t, s.ReadyForConnections(20*time.Second))
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	plain := newAsker(t, &Asker{Secrets: these(secret)})
	secure := newAsker(t, &Asker{Secrets: these(secret), TLS: func(string) *tls.Config { return &tls.Config{} }})
	ask := func(a *Asker, address string) error {
		_, err := a.Ask(within(t), address, "", nil)
		return err
	}
	require.ErrorIs(t, ask(plain, s.Addr().String()), ErrNone)
	require.ErrorIs(t, ask(secure, s.Addr().String()), ErrNone)
	require.ErrorIs(t, ask(secure, s.MonitorAddr().String()), ErrNone)
	require.ErrorIs(t, ask(secure, web.Listener.Addr().String()), ErrTLS, "of an unknown authority")
	require.Error(t, ask(plain, web.Listener.Addr().String()))

	p := newPlace(t, &Server{Secrets: these(secret)})
	_, err = nats.Connect("nats://"+p.at, nats.Timeout(50*time.Millisecond))
	require.Error(t, err)
	require.ErrorIs(t, p.told(t, 1)[0], ErrSilent, "a client of NATS waits for the server's first word")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i, url := range []string{"http://" + p.at, "https://" + p.at} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(t, err)
		transport := &http.Transport{}
		_, err = transport.RoundTrip(request)
		require.Error(t, err)
		transport.CloseIdleConnections()
		require.ErrorIs(t, p.told(t, 2+i)[1+i], []error{ErrNone, ErrTLS}[i])
	}
	requireAsk(t, plain, p.at)
}
