package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/examples/discovery/ec2"
	"github.com/stretchr/testify/require"
)

// cloud answers as EC2 does, in pages of 1,000.
type cloud struct {
	*httptest.Server
	mu   sync.Mutex
	ips  []string
	fail int // the page that fails, from 1
	bad  http.HandlerFunc
	last *http.Request
}

func newCloud(tb testing.TB) *cloud {
	c := &cloud{}
	c.Server = httptest.NewServer(c)
	tb.Cleanup(c.Close)
	tb.Cleanup(c.CloseClientConnections)
	return c
}

func (c *cloud) set(bad http.HandlerFunc, fail int, ips ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad, c.fail, c.ips = bad, fail, ips
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	bad, fail, ips := c.bad, c.fail, c.ips
	c.last = r
	c.mu.Unlock()
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("NextToken"))
	switch {
	case bad != nil:
		bad(w, r)
		return
	case fail > 0 && (from/1000+1 == fail || from >= len(ips)):
		refuse(503, "RequestLimitExceeded")(w, r)
		return
	}
	to := min(from+1000, len(ips))
	fmt.Fprint(w, `<?xml version="1.0"?><DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet>`)
	for _, ip := range ips[from:to] {
		fmt.Fprintf(w, "<item><instancesSet><item><privateIpAddress>%s</privateIpAddress></item><item/></instancesSet></item>", ip)
	}
	fmt.Fprint(w, "</reservationSet>")
	if to < len(ips) || fail > to/1000 {
		fmt.Fprintf(w, "<nextToken>%d</nextToken>", to)
	}
	fmt.Fprint(w, "</DescribeInstancesResponse>")
}

func refuse(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Response><Errors><Error><Code>%s</Code><Message>no</Message></Error></Errors></Response>", code)
	}
}

func (c *cloud) strategy(who func(context.Context) (ec2.Credentials, error)) discovery.Strategy {
	return ec2.New(ec2.Config{Endpoint: c.URL, Region: "eu-central-1", Tag: "role", Value: "nats & co", Credentials: who},
		discovery.Interval(20*time.Millisecond), discovery.Timeout(2*time.Second), discovery.MaxBackoff(50*time.Millisecond))
}

func somebody(context.Context) (ec2.Credentials, error) {
	return ec2.Credentials{Key: "AKID", Secret: "very secret", Session: "session"}, nil
}

func TestEC2IsAskedByTagAndSigned(t *testing.T) {
	c := newCloud(t)
	c.set(nil, 0, "10.0.0.1")
	found := make(chan []discovery.Address, 100)
	go func() {
		_ = c.strategy(somebody).Discover(t.Context(), func(list []discovery.Address, _ error) { found <- list })
	}()
	require.Equal(t, []discovery.Address{{Host: "10.0.0.1"}}, <-found)
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.last.URL.Query()
	require.Equal(t, "DescribeInstances tag:role nats & co instance-state-name running", strings.Join([]string{q.Get("Action"), q.Get("Filter.1.Name"),
		q.Get("Filter.1.Value.1"), q.Get("Filter.2.Name"), q.Get("Filter.2.Value.1")}, " "))
	require.Contains(t, c.last.Header.Get("Authorization"), "/eu-central-1/ec2/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=")
	require.Equal(t, "session", c.last.Header.Get("X-Amz-Security-Token"))
}

func TestEC2WithoutTheRightOrCredentials(t *testing.T) {
	c := newCloud(t)
	c.set(refuse(403, "UnauthorizedOperation"), 0)
	for want, who := range map[string]func(context.Context) (ec2.Credentials, error){
		"EC2 DescribeInstances: 403 Forbidden UnauthorizedOperation (have the credentials the right ec2:DescribeInstances?)": somebody,
		"no role": func(context.Context) (ec2.Credentials, error) { return ec2.Credentials{}, errors.New("no role") },
	} {
		errs := make(chan error, 100)
		go func() {
			_ = c.strategy(who).Discover(t.Context(), func(_ []discovery.Address, err error) { errs <- err })
		}()
		require.ErrorContains(t, <-errs, want)
	}
}
