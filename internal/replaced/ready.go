package replaced

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// WaitReady waits until the servers that run work together: they have one leader, who knows them all, and all that is stored has as many
// replicas as it is to have, on servers that run.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	if err := eventually(c.unready); err != nil {
		c.t.Fatalf("replaced: the cluster is not ready: %v", err)
	}
}

func (c *Cluster) unready() error {
	var up []string
	leaders := 0
	for _, s := range c.servers {
		if s.ns == nil {
			continue
		}
		up = append(up, s.name)
		if s.ns.JetStreamIsLeader() {
			leaders++
		}
		if text := health(s.ns); text != "" {
			return fmt.Errorf("%s: %s", s.name, text)
		}
	}
	if known := c.peers(); leaders != 1 || len(known) < len(up) {
		return fmt.Errorf("%d leaders; known are %v", leaders, known)
	}
	return c.incomplete(up)
}

// incomplete says which stream lacks a replica. A new server is healthy before it has got any.
func (c *Cluster) incomplete(up []string) error {
	led := map[string]bool{} // by a server who says that all is well, or not by any
	for _, s := range c.servers {
		if s.ns == nil {
			continue
		}
		jsz, err := s.ns.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Config: true})
		if err != nil {
			return err
		}
		for _, account := range jsz.AccountDetails {
			for _, stream := range account.Streams {
				led[stream.Name] = led[stream.Name] || false
				if stream.Cluster == nil || stream.Cluster.Leader != s.name {
					continue
				}
				led[stream.Name] = true
				if n := stream.Config.Replicas; len(stream.Cluster.Replicas) < n-1 {
					return fmt.Errorf("stream %s has %d replicas besides its leader, of %d", stream.Name, len(stream.Cluster.Replicas), n)
				}
				for _, replica := range stream.Cluster.Replicas {
					if !replica.Current || replica.Offline || replica.Pending || !slices.Contains(up, replica.Name) {
						return fmt.Errorf("stream %s: the replica on %s is not up to date", stream.Name, replica.Name)
					}
				}
			}
		}
	}
	for name, is := range led {
		if !is {
			return fmt.Errorf("stream %s has no leader", name)
		}
	}
	return nil
}

// health asks a server what its /healthz would say; "" if it is well.
func health(ns *server.Server) string {
	answer := &recorded{header: http.Header{}}
	request, err := http.NewRequest(http.MethodGet, server.HealthzPath, nil)
	if err != nil {
		return err.Error()
	}
	if ns.HandleHealthz(answer, request); answer.code == http.StatusOK {
		return ""
	}
	return answer.String()
}

type recorded struct {
	bytes.Buffer
	header http.Header
	code   int
}

func (r *recorded) Header() http.Header  { return r.header }
func (r *recorded) WriteHeader(code int) { r.code = code }
