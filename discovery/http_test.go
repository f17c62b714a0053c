package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

// site is an HTTP server that answers as it is told.
type site struct {
	*httptest.Server
	mu     sync.Mutex
	answer http.HandlerFunc
	last   *http.Request
	n      int
}

func newSite(t testing.TB, answer http.HandlerFunc) *site {
	s := &site{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer := s.answer
		s.last = r
		s.n++
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(func() {
		s.become(func(http.ResponseWriter, *http.Request) {})
		s.CloseClientConnections() // of those that never end
		s.Close()
	})
	return s
}

func (s *site) become(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *site) asked() (*http.Request, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.n
}

// says is an answer with a status, some headers "Name: value", and a body.
func says(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// endless answers with a body that never ends.
func endless(w http.ResponseWriter, r *http.Request) {
	text := strings.Repeat("[", 1<<16)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

// slow sends a byte now and then.
func slow(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, " "); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond) // so slow it is: nothing waits for it
	}
}

func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// breaks promises more than it sends.
func breaks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"containers":`)
}

// httpFailures are all that a server can do wrong, and what is told of it.
var httpFailures = map[string]struct {
	do     http.HandlerFunc
	reason discovery.Reason
	told   string
}{
	"401":           {says(401, "who are you"), discovery.ReasonUnauthorized, "status 401 Unauthorized (it wants credentials, or others)"},
	"403":           {says(403, `{"containers":[]}`), discovery.ReasonForbidden, "status 403 Forbidden (the credentials do not give the right to it)"},
	"404":           {says(404, "Not Found"), discovery.ReasonNotFound, "status 404 Not Found ("},
	"410":           {says(410, ""), discovery.ReasonGone, "status 410 Gone ("},
	"429":           {says(429, "", "Retry-After: 0"), discovery.ReasonThrottled, "status 429 Too Many Requests (it is asked too often: raise Interval)"},
	"408":           {says(408, ""), discovery.ReasonTimeout, "status 408 Request Timeout"},
	"400":           {says(400, "[]"), discovery.ReasonOther, "status 400 Bad Request (is the URL right?)"},
	"599":           {says(599, ""), discovery.ReasonUnavailable, "status 599 (see the server's log)"},
	"500":           {says(500, "{}"), discovery.ReasonUnavailable, "status 500 Internal Server Error (see the server's log)"},
	"503":           {says(503, ""), discovery.ReasonUnavailable, "status 503 Service Unavailable"},
	"504":           {says(504, ""), discovery.ReasonTimeout, "status 504 Gateway Timeout"},
	"304":           {says(304, ""), discovery.ReasonOther, "status 304 Not Modified (is the URL right?)"},
	"302 to nobody": {says(302, ""), discovery.ReasonOther, "status 302 Found (is the URL right?)"},
	"302 elsewhere": {says(302, "", "Location: https://login.example/?secret=x"), discovery.ReasonOther,
		"status 302 Found: it redirects to https://login.example/, which is not followed (give that URL; or is it a page to sign in?)"},
	"302 for ever": {func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path+"/again", http.StatusFound)
	},
		discovery.ReasonOther, "it redirected 10 times (is the URL right?)"},
	"302 to a page": {func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/login" {
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
		says(200, "\n <!doctype html><p>Sign in", "Content-Type: text/html")(w, r)
	}, discovery.ReasonMalformed, "/login, after a redirect) (is the URL right, and does no proxy, and no page to sign in, stand between?)"},
	"204":         {says(204, ""), discovery.ReasonMalformed, "the answer (status 204) is empty"},
	"nothing":     {says(200, " \n"), discovery.ReasonMalformed, "the answer (status 200) is empty"},
	"no JSON":     {says(200, "hello"), discovery.ReasonMalformed, "the answer is no JSON of the form that it should have: invalid character 'h'"},
	"half JSON":   {says(200, `{"containers":[`), discovery.ReasonMalformed, "unexpected end of JSON input (is the URL right?)"},
	"JSON and on": {says(200, `{"containers":[]} x`), discovery.ReasonMalformed, "invalid character 'x' after top-level value"},
	"other JSON":  {says(200, `[1,2]`), discovery.ReasonMalformed, "cannot unmarshal array"},
	"string":      {says(200, `"Not Found"`), discovery.ReasonMalformed, "cannot unmarshal string"},
	"a page":      {says(200, "<html>"), discovery.ReasonMalformed, "the answer is a page of HTML or XML, and no JSON"},
	"endless":     {endless, discovery.ReasonMalformed, "the answer has more than 4 MiB"},
	"slow":        {slow, discovery.ReasonTimeout, "not all of the answer came in time"},
	"silent":      {silent, discovery.ReasonTimeout, "not all of the answer came in time"},
	"breaks":      {breaks, discovery.ReasonUnavailable, "the answer broke off: unexpected EOF"},
	"hangs up": {func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	}, discovery.ReasonUnavailable, "EOF (does it run, and can it be reached from here?)"},
	"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		_, _ = io.WriteString(conn, "INFO {\"server_id\":\"x\"}\r\n")
		conn.Close()
	}, discovery.ReasonUnavailable, "malformed HTTP"},
}

func get(t testing.TB, within time.Duration, from string, header http.Header, into any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return discovery.GetJSON(ctx, client, from, header, into)
}

// Each failure is told apart, says what was asked and what to do, and nothing of what is secret.
func TestEveryAnswerThatIsNoneIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range httpFailures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.do)
			within := 20 * time.Second
			if c.reason == discovery.ReasonTimeout && !strings.Contains(c.told, "status ") { // that is an answer, which has its time
				within = 200 * time.Millisecond
			}
			from, err := url.Parse(s.URL)
			require.NoError(t, err)
			from.User, from.Path, from.RawQuery = url.UserPassword("user", "secret"), "/v1/list", "token=secret"
			var into map[string]any
			_, err = get(t, within, from.String(), http.Header{"X-Token": {"secret"}}, &into)
			require.Error(t, err)
			require.True(t, strings.HasPrefix(err.Error(), "GET "+s.URL+"/v1/list: "), err.Error())
			require.Contains(t, err.Error(), c.told)
			require.Equal(t, c.reason, discovery.ReasonOf(err))
			require.NotContains(t, err.Error(), "secret")
			var f *discovery.Failure
			require.ErrorAs(t, err, &f)
			require.NotEmpty(t, f.Mend)
		})
	}
}

func TestAnAnswerOfJSONIsDecoded(t *testing.T) {
	s := newSite(t, says(200, `{"a":[1]}`, "X-Index: 7"))
	var into struct{ A []int }
	given := http.Header{"X-Token": {"secret"}}
	header, err := get(t, 20*time.Second, s.URL+"/v1", given, &into)
	require.NoError(t, err)
	require.Equal(t, []int{1}, into.A)
	require.Equal(t, "7", header.Get("X-Index"))
	require.Equal(t, http.Header{"X-Token": {"secret"}}, given)
	asked, _ := s.asked()
	require.Equal(t, "application/json", asked.Header.Get("Accept"))
	require.Equal(t, "secret", asked.Header.Get("X-Token"))
	_, err = get(t, 20*time.Second, s.URL, http.Header{"Accept": {"text/x"}}, &into)
	require.NoError(t, err)
	asked, _ = s.asked()
	require.Equal(t, "text/x", asked.Header.Get("Accept"))
	_, err = get(t, 20*time.Second, s.URL, nil, into)
	require.ErrorContains(t, err, "give GetJSON a pointer")

	// A redirect on the same host is followed.
	s.become(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1" {
			http.Redirect(w, r, "/v2", http.StatusMovedPermanently)
			return
		}
		says(200, `{"a":[2]}`)(w, r)
	})
	into.A = nil
	_, err = get(t, 20*time.Second, s.URL+"/v1", nil, &into)
	require.NoError(t, err)
	require.Equal(t, []int{2}, into.A)
}

// A token goes to no other host, whoever asks for that.
func TestATokenGoesToNoOtherHost(t *testing.T) {
	thief := newSite(t, says(200, `{}`))
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	var into map[string]any
	_, err := get(t, 20*time.Second, s.URL, http.Header{"X-Consul-Token": {"secret"}}, &into)
	require.ErrorContains(t, err, "status 307 Temporary Redirect: it redirects to "+thief.URL)
	_, n := thief.asked()
	require.Zero(t, n)
}

func TestAPauseIsReadFromTheHeader(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, " 1 ": time.Second, "-5": 0, "soon": 0, "99999999999999999999": 0, "1.5": 0,
		"Thu, 01 Jan 1970 00:00:00 GMT": 0,
	} {
		s := newSite(t, says(429, "", "Retry-After: "+header))
		_, err := get(t, 20*time.Second, s.URL, nil, &struct{}{})
		var f *discovery.Failure
		require.ErrorAs(t, err, &f)
		require.Equal(t, want, f.RetryAfter, "%q", header)
	}
	s := newSite(t, says(503, "", "Retry-After: "+time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)))
	_, err := get(t, 20*time.Second, s.URL, nil, &struct{}{})
	var f *discovery.Failure
	require.ErrorAs(t, err, &f)
	require.InDelta(t, time.Hour.Seconds(), f.RetryAfter.Seconds(), 30)
}

func TestWhoCannotBeAskedIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := l.Addr().String()
	require.NoError(t, l.Close())
	plain := newSite(t, says(200, "{}"))
	secure := httptest.NewUnstartedServer(says(200, "{}"))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for from, want := range map[string]struct {
		reason discovery.Reason
		told   string
	}{
		"http://" + closed: {discovery.ReasonUnavailable, "connection refused (does it run, and can it be reached from here?)"},
		"https" + strings.TrimPrefix(plain.URL, "http"): {discovery.ReasonMalformed, "HTTP response to HTTPS client (http in place of https, or another port)"},
		secure.URL:          {discovery.ReasonOther, "(give a client that trusts who issued it, or the name that it is for)"},
		"127.0.0.1:8500/v1": {discovery.ReasonMalformed, "(give one as https://host:port/path)"},
		"ftp://127.0.0.1":   {discovery.ReasonMalformed, "it is not the URL of an HTTP server"},
		"http://":           {discovery.ReasonMalformed, "it is not the URL of an HTTP server"},
		"http://a b":        {discovery.ReasonMalformed, "it is not the URL of an HTTP server"},
		"":                  {discovery.ReasonMalformed, "it is not the URL of an HTTP server"},
		fmt.Sprintf("http://u:secret@%s/?t=secret", closed): {discovery.ReasonUnavailable, "GET http://" + closed + "/: "},
	} {
		_, err := get(t, 20*time.Second, from, nil, &struct{}{})
		require.ErrorContains(t, err, want.told, from)
		require.Equal(t, want.reason, discovery.ReasonOf(err), from)
		require.NotContains(t, err.Error(), "secret")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = discovery.GetJSON(ctx, nil, plain.URL, nil, &struct{}{})
	require.True(t, errors.Is(err, context.Canceled) && discovery.ReasonOf(err) == discovery.ReasonOther, err)
}
