package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// cluster is the servers that a fleet connects to, one or three, each a process.
type cluster struct {
	servers []*process
	dirs    []string // of what they store
	url     string
}

// startCluster starts so many servers and returns when they work together.
func startCluster(ctx context.Context, n int, within time.Duration) (*cluster, error) {
	const tries = 3 // between finding a free port and listening there somebody else may take it
	var errs []error
	for range tries {
		c, err := tryCluster(ctx, n, within)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || n == 1 {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func tryCluster(ctx context.Context, n int, within time.Duration) (_ *cluster, err error) {
	c := &cluster{}
	defer func() {
		if err != nil {
			c.end()
		}
	}()
	orders := make([]startOrder, n)
	if n > 1 {
		ports, err := freePorts(n)
		if err != nil {
			return nil, err
		}
		var routes []string
		for _, port := range ports {
			routes = append(routes, fmt.Sprintf("nats://%s:%d", loopback, port))
		}
		for i, port := range ports {
			orders[i] = startOrder{Port: port, Routes: routes}
		}
	}
	// One after another, so that each finds those before it at once: else the first election may fail, and the next one is
	// seconds away.
	var urls []string
	for i, o := range orders {
		o.Name = fmt.Sprint("server-", i+1)
		if o.Dir, err = os.MkdirTemp("", "rolebus-fleet-"); err != nil {
			return nil, err
		}
		c.dirs = append(c.dirs, o.Dir)
		p, err := startProcess(kindServer, o.Name, within)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, p)
		s, err := ask[started](ctx, p, doStart, o)
		if err != nil {
			return nil, err
		}
		urls = append(urls, s.URL)
	}
	c.url = strings.Join(urls, ",")
	return c, c.waitReady(ctx, within)
}

// waitReady waits until JetStream takes streams with as many replicas as there are servers.
func (c *cluster) waitReady(ctx context.Context, within time.Duration) error {
	if len(c.servers) == 1 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("the servers made no cluster in %v", within))
	defer cancel()
	var asking error
	err := until(ctx, func() bool {
		var all []readiness
		all, asking = askAll[readiness](ctx, c.servers, doReady, func(int) any { return none{} })
		leaders, known, ill := 0, 0, false
		for _, r := range all {
			if r.Leads {
				leaders, known = leaders+1, r.Knows
			}
			ill = ill || r.Ill != ""
		}
		return asking != nil || leaders == 1 && known == len(c.servers) && !ill
	})
	return errors.Join(err, asking)
}

// usage is what each server has used of the machine.
func (c *cluster) usage(ctx context.Context) ([]usage, error) {
	return askAll[usage](ctx, c.servers, doUsage, func(int) any { return usageOrder{} })
}

// count adds up the messages that went in and out of the servers. What is stored is the same in all of them.
func (c *cluster) count(ctx context.Context) (sum counts, err error) {
	all, err := askAll[counts](ctx, c.servers, doCount, func(int) any { return none{} })
	if err != nil {
		return sum, err
	}
	for _, one := range all {
		sum.At, sum.In, sum.Out = one.At, sum.In+one.In, sum.Out+one.Out
		sum.Stored = max(sum.Stored, one.Stored)
	}
	return sum, nil
}

// end ends the servers. Each removes what it stored, also if this program was killed; here is seen to those that were.
func (c *cluster) end() {
	endAll(c.servers)
	for _, dir := range c.dirs {
		_ = os.RemoveAll(dir)
	}
}

// freePorts finds ports on which nobody listens.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // when all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
