//go:build linux

package selfformed_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
)

// The canary: a stream into which every process writes all the time. What was acknowledged must be there in the end.

const (
	canary       = "CANARY"
	writeEvery   = 100 * time.Millisecond
	writeTimeout = 2 * time.Second
	bucketStream = "KV_rolebus"
)

// write writes, each text once, and tells what was acknowledged.
func (m *member) write(bus *rolebus.Bus) {
	js, err := jetstream.New(bus.Conn(), jetstream.WithDefaultTimeout(writeTimeout))
	if err != nil {
		panic(err) // of options that are constant
	}
	life := bus.Snapshot().Node(m.cfg.Name).Incarnation()
	ticks := time.NewTicker(writeEvery)
	defer ticks.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticks.C:
		case <-m.ctx.Done():
			return
		}
		text := fmt.Sprintf("%s.%d.%d", m.cfg.Name, life, n)
		ctx, cancel := context.WithTimeout(m.ctx, writeTimeout)
		_, err := js.Publish(ctx, "canary."+m.cfg.Name, []byte(text), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			m.say(record{Kind: isAcked, Text: text})
		}
	}
}

// answer answers the test.
func (m *member) answer(o order) {
	ctx, cancel := context.WithTimeout(m.ctx, writeTimeout)
	defer cancel()
	r := record{Kind: isAnswer, Call: o.Call}
	err := errors.New("it has no bus yet")
	if b := m.bus.Load(); b != nil {
		var js jetstream.JetStream
		if js, err = jetstream.New(b.Conn()); err == nil {
			switch o.Do {
			case doMake:
				_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: canary, Subjects: []string{"canary.>"}, Replicas: m.cfg.Size})
			case doCheck:
				err = m.check(ctx, js)
			case doRead:
				r.Sent, err = readAll(m.ctx, js)
			}
		}
	}
	if err != nil {
		r.Text = err.Error()
	}
	m.say(r)
}

// check says what the streams lack: each has as many replicas as the cluster members, and all are up to date.
func (m *member) check(ctx context.Context, js jetstream.JetStream) error {
	for _, name := range []string{canary, bucketStream} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c := s.CachedInfo().Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != m.cfg.Size-1 {
			return fmt.Errorf("%s: it is at %+v", name, c)
		}
		for _, p := range c.Replicas {
			if !p.Current || p.Offline {
				return fmt.Errorf("%s: %+v", name, *p)
			}
		}
	}
	return nil
}

// readAll reads what is in the canary stream.
func readAll(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := js.Stream(ctx, canary)
	if err != nil {
		return nil, err
	}
	last := s.CachedInfo().State.LastSeq
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	messages, err := c.Messages()
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	var all []string
	for read := uint64(0); read < last; {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		all = append(all, string(msg.Data()))
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		read = meta.Sequence.Stream
	}
	return all, nil
}

// patience is how long anything may take that is not measured.
const patience = 2 * time.Minute
