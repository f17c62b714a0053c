package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	partitions = 16
	stream     = "jobs"
	customers  = 40
	every      = 5 * time.Millisecond // a job is sent
	again      = time.Second          // what was not acknowledged for so long is given to somebody again
)

// Job is what has to be done for a customer: the jobs of one customer one after another, in their order.
type Job struct{ ID, Customer int }

// partition is where a customer's jobs are done: the same in whatever process, whoever works there.
func (j Job) partition() int {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(strconv.Itoa(j.Customer)))
	return int(sum.Sum32() % partitions)
}

// do takes as long as a look into a database.
func (j Job) do() { time.Sleep(2 * time.Millisecond) }

// makeStream makes the stream of jobs, and a consumer for each partition, which gives out one job at a time.
func makeStream(ctx context.Context, js jetstream.JetStream) error {
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{"jobs.*"}, Retention: jetstream.WorkQueuePolicy})
	for p := 0; p < partitions && err == nil; p++ {
		_, err = js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
			Durable: "partition-" + strconv.Itoa(p), FilterSubject: "jobs." + strconv.Itoa(p),
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: again, MaxAckPending: 1,
		})
	}
	return err
}

// sender sends jobs, until it is closed.
type sender struct {
	js     jetstream.JetStream
	cancel context.CancelFunc
	work   sync.WaitGroup
	sent   int // once it is closed
	err    error
}

func (s *sender) open(ctx context.Context) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.work.Go(func() {
		for tick := time.NewTicker(every); s.err == nil; s.sent++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return
			}
			job := Job{ID: s.sent, Customer: s.sent % customers}
			raw, err := json.Marshal(job)
			if err == nil {
				_, err = s.js.Publish(context.WithoutCancel(ctx), fmt.Sprint("jobs.", job.partition()), raw)
			}
			s.err = err
		}
	})
}

func (s *sender) close() error {
	if s.cancel != nil {
		s.cancel()
	}
	s.work.Wait()
	return s.err
}
