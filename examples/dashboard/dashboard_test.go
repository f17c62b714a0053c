package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shown is what a page is told.
type shown struct {
	Scopes []struct {
		Scope string
		Nodes []struct {
			Name  string
			Roles []string
			Meta  map[string]string
		}
	}
	Health string
}

// open starts a dashboard on a server.
func open(t *testing.T, server *rolebustest.Server) *httptest.Server {
	t.Helper()
	require.NoError(t, rolebus.Provision(t.Context(), server.Conn()))
	d := newDashboard()
	bus := server.Bus(rolebus.WithObserver(), rolebus.WithAllScopes(), rolebus.WithHandler(d.handler()))
	web := httptest.NewServer(d.routes(bus))
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	return web
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

func TestStreamShowsTheFleetAsItChanges(t *testing.T) {
	server := rolebustest.NewServer(t)
	web := open(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, web.URL+"/events", nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	lines := bufio.NewScanner(response.Body)
	until := func(what string, holds func(shown) bool) {
		t.Helper()
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				require.Empty(t, lines.Text())
				continue
			}
			var s shown
			require.NoError(t, json.Unmarshal([]byte(data), &s))
			if holds(s) {
				return
			}
		}
		t.Fatalf("the stream ended before it showed %s: %v", what, lines.Err())
	}
	nodes := func(s shown, scope string) int {
		for _, of := range s.Scopes {
			if of.Scope == scope {
				return len(of.Nodes)
			}
		}
		return -1
	}
	until("an empty fleet", func(s shown) bool { return nodes(s, "default") == 0 && s.Health == "" })

	a := server.Bus(rolebus.WithNode("a"), rolebus.WithScopes("billing"), rolebus.WithMeta(map[string]string{"zone": "<b>"}))
	until("a node and a new scope", func(s shown) bool { return nodes(s, "default") == 1 && nodes(s, "billing") == 1 })
	require.NoError(t, a.AddRoles(ctx, "api", `"quoted"`))
	until("its roles", func(s shown) bool {
		n := s.Scopes[len(s.Scopes)-1].Nodes[0]
		return len(n.Roles) == 2 && n.Roles[0] == `"quoted"` && n.Meta["zone"] == "<b>"
	})
	require.NoError(t, a.Close())
	until("that it has gone", func(s shown) bool { return nodes(s, "default") == 0 })
}

func TestHealthOfADashboard(t *testing.T) {
	server := rolebustest.NewServer(t)
	web := open(t, server)
	status, body := get(t, web.URL+"/readyz")
	require.Equal(t, http.StatusOK, status, body)
	status, page := get(t, web.URL)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "EventSource")
	status, _ = get(t, web.URL+"/elsewhere")
	require.Equal(t, http.StatusNotFound, status)

	server.Stop()
	rolebustest.Eventually(t, "it not to be ready without NATS", func() bool {
		status, body = get(t, web.URL+"/readyz")
		return status == http.StatusServiceUnavailable
	})
	require.Contains(t, body, `scope "default"`)
	status, body = get(t, web.URL+"/livez")
	require.Equal(t, http.StatusOK, status, "an outage of NATS is no reason to restart it: %s", body)

	server.Start()
	rolebustest.Eventually(t, "it to be ready again", func() bool {
		status, _ := get(t, web.URL+"/readyz")
		return status == http.StatusOK
	})
}
