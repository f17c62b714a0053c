package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// The floor under a change: the connections of the same buses get one message of core NATS, about as large as the
// announcement of a change, and nothing is done with it.

// ear is a bare subscription on a bus's connection.
type ear struct {
	heard atomic.Pointer[heard]
}

type heard struct {
	nth uint64
	at  time.Time
}

const (
	floorSubject = "fleet.floor"
	announced    = 420 // bytes of headers of an announcement, about

	doListen     = "listen"
	doPublish    = "publish"
	doAwaitFloor = "wait for a message"
)

// listen subscribes on every bus's connection, and returns when the server knows of it.
func (b *buses) listen(ctx context.Context, _ none) (none, error) {
	for _, s := range b.seats {
		s.bare.heard.Store(&heard{})
		if _, err := s.nc.Subscribe(floorSubject, s.bare.hear); err != nil {
			return none{}, err
		}
	}
	for _, s := range b.seats {
		if err := s.nc.FlushWithContext(ctx); err != nil {
			return none{}, fmt.Errorf("%s listens: %w", s.bus.Name(), err)
		}
	}
	return none{}, nil
}

func (e *ear) hear(msg *nats.Msg) {
	e.heard.Store(&heard{binary.BigEndian.Uint64(msg.Data), time.Now()})
}

// publish publishes a message over the first bus's connection, and returns when all of this process have heard it.
func (b *buses) publish(ctx context.Context, o changeOrder) (changed, error) {
	msg := nats.NewMsg(floorSubject)
	msg.Header.Set("Fleet-Padding", strings.Repeat("x", announced))
	msg.Data = binary.BigEndian.AppendUint64(nil, uint64(o.Nth))
	c := changed{From: time.Now()}
	if err := b.seats[0].nc.PublishMsg(msg); err != nil {
		return c, err
	}
	s, err := b.awaitFloor(ctx, o)
	c.Seen = s.Seen
	return c, err
}

// awaitFloor waits until every bus's connection has heard a message, and returns when each did.
func (b *buses) awaitFloor(ctx context.Context, o changeOrder) (sightings, error) {
	var out sightings
	for _, s := range b.seats {
		if err := until(ctx, func() bool { return s.bare.heard.Load().nth >= uint64(o.Nth) }); err != nil {
			return out, fmt.Errorf("%s has not heard message %d: %w", s.bus.Name(), o.Nth, err)
		}
		out.Seen = append(out.Seen, s.bare.heard.Load().at)
	}
	held(ctx)
	return out, nil
}
