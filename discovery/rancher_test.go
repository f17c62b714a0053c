package discovery_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

// metadata answers as Rancher's metadata service does.
func metadata(containers ...string) http.HandlerFunc {
	return says(200, `{"name":"nats","stack_name":"core","scale":2,"containers":[`+strings.Join(containers, ",")+`]}`, "Content-Type: application/json")
}

func container(ip, state string) string {
	return fmt.Sprintf(`{"name":"core_nats_1","primary_ip":%q,"ips":[%q],"state":%q,"health_state":"healthy","labels":{}}`, ip, ip, state)
}

func watchRancher(t *testing.T, s *site, opts ...discovery.Option) *watched {
	return watch(t, func(seen ...discovery.Option) discovery.Strategy {
		return discovery.Rancher(append(append(seen, discovery.BaseURL(s.URL), discovery.Interval(20*time.Millisecond),
			discovery.MaxBackoff(20*time.Millisecond), discovery.Timeout(20*time.Second)), opts...)...)
	})
}

func TestRancherFindsTheContainersOfItsService(t *testing.T) {
	s := newSite(t, metadata(container("10.42.0.1", "running"), container("10.42.0.2", "running"), container("fd00::3", "running")))
	w := watchRancher(t, s)
	w.eventually("10.42.0.1:4222 10.42.0.2:4222 [fd00::3]:4222")
	asked, _ := s.asked()
	require.Equal(t, "/latest/self/service", asked.URL.Path)
	require.Equal(t, "application/json", asked.Header.Get("Accept"))
	s.become(metadata(container("10.42.0.2", "running")))
	w.eventually("10.42.0.2:4222")

	tls := watchRancher(t, s, discovery.Port(4333), discovery.Scheme("tls"), discovery.TLSName("nats.example"))
	tls.eventually("tls://10.42.0.2:4333")
	w.stop()
	tls.stop()
	below := watchRancher(t, s, discovery.BaseURL(s.URL+"/below/"))
	below.eventually("10.42.0.2:4222")
	asked, _ = s.asked()
	require.Equal(t, "/below/latest/self/service", asked.URL.Path)
}

// Containers that have no address, or do not run, crash nothing, and are not listed.
func TestRancherTakesContainersThatRun(t *testing.T) {
	s := newSite(t, metadata(
		container("10.42.0.1", "running"),
		`{"name":"starts","state":"starting"}`,
		`{"name":"null","primary_ip":null}`,
		container("", "running"),
		`{}`,
		`{"primary_ip":"10.42.0.2"}`,
		container("10.42.0.3", "starting"),
		container("10.42.0.4", "updating-running"),
		container("10.42.0.5", "stopped"), container("10.42.0.6", "stopping"), container("10.42.0.7", "removed"), container("10.42.0.8", "removing"),
		container("10.42.0.9", "purged"), container("10.42.0.10", "purging"), container("10.42.0.11", "error"), container("10.42.0.12", "erroring"),
		strings.Replace(container("10.42.0.13", "running"), `"healthy"`, `"unhealthy"`, 1),
		container("10.42.0.1", "running"),
	))
	w := watchRancher(t, s)
	w.eventually("10.42.0.13:4222 10.42.0.1:4222 10.42.0.2:4222 10.42.0.3:4222 10.42.0.4:4222")
	w.warned()
}

// Whatever its metadata service does takes nothing away, and is told once with what to do.
func TestRancherLosesNothing(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		do     http.HandlerFunc
		reason discovery.Reason
		told   string
	}{
		"no containers":     {metadata(), discovery.ReasonEmpty, "it lists no address (of its 0 containers none runs and has an address)"},
		"null":              {says(200, `{"containers":null}`), discovery.ReasonEmpty, "of its 0 containers none"},
		"none runs":         {metadata(container("10.42.0.9", "stopped"), "{}"), discovery.ReasonEmpty, "of its 2 containers none runs"},
		"no list":           {says(200, `{"containers":{"a":1}}`), discovery.ReasonMalformed, "the containers of the service are no list (is that the metadata of Rancher 1"},
		"no service":        {says(200, `{"code":404,"message":"x"}`), discovery.ReasonMalformed, "the service has no list of containers"},
		"names alone":       {says(200, `{"containers":["core_nats_1"]}`), discovery.ReasonMalformed, "container 1: json: cannot unmarshal string"},
		"a number":          {metadata(`{"primary_ip":7}`), discovery.ReasonMalformed, "container 1: json: cannot unmarshal number"},
		"not an address":    {metadata(container("10.42.0.1/16", "running")), "", `host \"10.42.0.1/16\" is neither a name nor an IP address`},
		"not to be reached": {metadata(container("0.0.0.0", "running")), "", `host \"0.0.0.0\" is neither`},
	}
	for name, c := range httpFailures {
		c.told = strings.TrimSpace(strings.Split(c.told, "(")[0]) // some mends are Rancher's own
		cases[name] = c
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, metadata(container("10.42.0.1", "running"), container("10.42.0.2", "running")))
			var short []discovery.Option
			if c.reason == discovery.ReasonTimeout && !strings.Contains(c.told, "status ") { // that is an answer, which has its time
				short = append(short, discovery.Timeout(100*time.Millisecond))
			}
			w := watchRancher(t, s, short...)
			w.eventually("10.42.0.1:4222 10.42.0.2:4222")
			s.become(c.do)
			if c.reason != "" {
				w.failed(c.reason)
			}
			w.until(func() bool { return len(w.warnings()) > 0 }, "a warning")
			looks := w.looks()
			w.until(func() bool { return w.looks() > looks+10 }, "it goes on asking")
			w.stands("10.42.0.1:4222 10.42.0.2:4222")
			w.warned(strings.ReplaceAll(c.told, "\n", `\n`))
			s.become(metadata(container("10.42.0.2", "running"), container("10.42.0.3", "running")))
			w.eventually("10.42.0.2:4222 10.42.0.3:4222")
		})
	}
}

// One container that cannot be understood does not stand for all; what it hides may be what is missing.
func TestRancherUsesWhatItUnderstands(t *testing.T) {
	s := newSite(t, metadata(container("10.42.0.1", "running"), container("10.42.0.2", "running")))
	w := watchRancher(t, s)
	w.eventually("10.42.0.1:4222 10.42.0.2:4222")
	s.become(metadata(container("10.42.0.2", "running"), `{"primary_ip":[]}`, container("10.42.0.3", "running")))
	w.eventually("10.42.0.1:4222 10.42.0.2:4222 10.42.0.3:4222")
	w.warned("container 2: json: cannot unmarshal array")
}

// tripped is a transport that is a function, for fake time.
type tripped func(*http.Request) (int, string, http.Header)

func (f tripped) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body, header := f(r)
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// Who asks for a pause is left alone for that long; and it is asked once an interval, by the usual address.
func TestRancherIsAskedAsOftenAsItWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		pause := ""
		wants := func(text string) (asked int) {
			mu.Lock()
			defer mu.Unlock()
			pause = text
			return len(at)
		}
		client := &http.Client{Transport: tripped(func(r *http.Request) (int, string, http.Header) {
			require.Equal(t, "http://rancher-metadata/latest/self/service", r.URL.String())
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			if pause != "" {
				return 429, "", http.Header{"Retry-After": {pause}}
			}
			return 200, `{"containers":[{"primary_ip":"10.42.0.1"}]}`, nil
		})}
		w := watch(t, func(seen ...discovery.Option) discovery.Strategy {
			return discovery.Rancher(append(seen, discovery.HTTPClient(client))...)
		})
		pass(1000 * 5 * time.Second)
		require.InDelta(t, 1000, wants("600"), 20)
		pass(6 * time.Second)
		before := wants("600")
		pass(time.Hour)
		require.InDelta(t, 5, wants("")-before, 1)
		for i := before; i < len(at); i++ {
			require.GreaterOrEqual(t, at[i].Sub(at[i-1]), 10*time.Minute)
		}
		w.stands("10.42.0.1:4222")
		pass(12 * time.Minute)
		w.stands("10.42.0.1:4222")
		w.stop()
	})
}

// A proxy of the environment is for what is far away.
func TestRancherIsAskedByNoProxy(t *testing.T) {
	proxy := newSite(t, says(200, `{"containers":[{"primary_ip":"6.6.6.6"}]}`))
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	w := watch(t, func(seen ...discovery.Option) discovery.Strategy {
		return discovery.Rancher(append(seen, discovery.BaseURL("http://metadata.invalid"), discovery.Interval(20*time.Millisecond))...)
	})
	require.ErrorContains(t, w.failed(discovery.ReasonUnavailable), "does this run in a container of Rancher 1, in its managed network?")
	_, n := proxy.asked()
	require.Zero(t, n)
}

func TestMistakesAboutRancherAreTold(t *testing.T) {
	for base, want := range map[string]string{
		"": "BaseURL", "rancher-metadata": "BaseURL rancher-metadata: it must be as http://host:port",
		"ftp://x": "BaseURL ftp://x", "http://": "BaseURL", "http://x?a=secret": "BaseURL http://x:", "http://u:secret@x": "BaseURL http://x:",
	} {
		err := discovery.Rancher(discovery.BaseURL(base)).Discover(t.Context(), nil)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
	require.ErrorContains(t, discovery.Rancher(discovery.HTTPClient(nil)).Discover(t.Context(), nil), "HTTPClient: it is nil")
	require.ErrorContains(t, discovery.File("a", discovery.BaseURL("http://x")).Discover(t.Context(), nil), "it does not take BaseURL")
	require.Equal(t, "Rancher http://rancher-metadata", fmt.Sprint(discovery.Rancher()))
}
