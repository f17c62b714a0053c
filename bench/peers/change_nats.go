package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const coreSubject = "changes.writer"

type coreWriter struct{ nc *nats.Conn }

func writeCore(_ context.Context, url string) (writer, error) {
	nc, err := nats.Connect(url)
	return coreWriter{nc}, err
}

func (w coreWriter) write(_ context.Context, n int) error {
	return w.nc.Publish(coreSubject, record(n))
}
func (w coreWriter) address() string { return "" }

func (w coreWriter) close() error {
	w.nc.Close()
	return nil
}

func readCore(_ context.Context, url string, saw func(int, time.Time)) (closer, error) {
	return hear(url, coreSubject, saw)
}

func readStored(_ context.Context, url string, saw func(int, time.Time)) (closer, error) {
	return hear(url, toldSubject, saw)
}

func hear(url, subject string, saw func(int, time.Time)) (closer, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	end := func() error { nc.Close(); return nil }
	if _, err := nc.Subscribe(subject, func(msg *nats.Msg) {
		at := time.Now()
		saw(must(recordNumber(msg.Data)), at)
	}); err != nil {
		return end, err
	}
	return end, nc.Flush()
}

// A stream that stores and republishes each message is the least that tells of what is stored.
const (
	storedSubject = "stored.writer"
	toldSubject   = "told.writer"
)

type storedWriter struct {
	nc *nats.Conn
	js jetstream.JetStream
}

func writeStored(ctx context.Context, url string) (writer, error) {
	nc, js, err := dial(url)
	if err != nil {
		return nil, err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "STORED", Subjects: []string{"stored.>"}, MaxMsgsPerSubject: 1,
		RePublish: &jetstream.RePublish{Source: "stored.>", Destination: "told.>"},
	})
	return storedWriter{nc, js}, err
}

func (w storedWriter) write(ctx context.Context, n int) error {
	_, err := w.js.Publish(ctx, storedSubject, record(n))
	return err
}

func (w storedWriter) address() string { return "" }

func (w storedWriter) close() error {
	w.nc.Close()
	return nil
}

type kvWriter struct {
	nc *nats.Conn
	kv jetstream.KeyValue
}

func writeKV(ctx context.Context, url string) (writer, error) {
	nc, js, err := dial(url)
	if err != nil {
		return nil, err
	}
	kv, err := directory(ctx, js)
	return kvWriter{nc, kv}, err
}

func (w kvWriter) write(ctx context.Context, n int) error {
	_, err := w.kv.Put(ctx, "default.writer", record(n))
	return err
}

func (w kvWriter) address() string { return "" }

func (w kvWriter) close() error {
	w.nc.Close()
	return nil
}

func readKV(ctx context.Context, url string, saw func(int, time.Time)) (closer, error) {
	nc, js, err := dial(url)
	if err != nil {
		return nil, err
	}
	end := func() error { nc.Close(); return nil }
	watch, err := watchDirectory(ctx, js)
	if err != nil {
		return end, err
	}
	go func() {
		for entry := range watch.Updates() {
			at := time.Now()
			saw(must(recordNumber(entry.Value())), at)
		}
	}()
	return end, nil
}

// watchDirectory watches everything, from when the initial values are in.
func watchDirectory(ctx context.Context, js jetstream.JetStream) (jetstream.KeyWatcher, error) {
	kv, err := directory(ctx, js)
	if err != nil {
		return nil, err
	}
	watch, err := kv.WatchAll(ctx)
	if err != nil {
		return nil, err
	}
	for entry := range watch.Updates() {
		if entry == nil {
			return watch, nil
		}
	}
	return nil, fmt.Errorf("watch of %s: it ended before the initial values were in", kv.Bucket())
}
