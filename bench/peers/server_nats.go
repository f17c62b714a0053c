package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/embedded"
)

// The kinds of NATS servers.
const (
	natsDefault = ""      // tells of closed connections; leaves it to the system when files reach the disk
	natsSilent  = "quiet" // does not tell of closed connections, as a server that nobody configured
	natsFsync   = "fsync" // waits for the disk before it acknowledges
)

func playNATS(_ context.Context, p *process.Process) error {
	srv, err := embedded.Start(embedded.WithStoreDir(p.Config.Dir), embedded.WithServerOptions(func(o *server.Options) {
		o.NoSystemAccount = p.Config.System == natsSilent
		o.SyncAlways = p.Config.System == natsFsync
	}))
	if err != nil {
		return err
	}
	p.Stay(srv.URL())
	return srv.Close()
}

// dial connects and makes JetStream ready.
func dial(url string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

// asyncLimit is how many messages may be on their way to the server, well below what the client refuses.
const asyncLimit = 500

// publishAll publishes count messages, many at a time, and returns their sequences when all are stored.
func publishAll(ctx context.Context, js jetstream.JetStream, count int, message func(i int) (*nats.Msg, error)) ([]uint64, error) {
	sequences := make([]uint64, count)
	futures := make([]jetstream.PubAckFuture, 0, asyncLimit)
	for i := range count {
		msg, err := message(i)
		if err != nil {
			return nil, err
		}
		future, err := js.PublishMsgAsync(msg)
		if err != nil {
			return nil, fmt.Errorf("publish %s: %w", msg.Subject, err)
		}
		if futures = append(futures, future); len(futures) < asyncLimit && i < count-1 {
			continue
		}
		for n, f := range futures {
			select {
			case ack := <-f.Ok():
				sequences[i-len(futures)+1+n] = ack.Sequence
			case err := <-f.Err():
				return nil, fmt.Errorf("publish %s: %w", f.Msg().Subject, err)
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		futures = futures[:0]
	}
	return sequences, nil
}

// directory is the bucket that somebody makes who builds it by hand.
func directory(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	cfg := jetstream.KeyValueConfig{Bucket: "directory", Storage: jetstream.FileStorage, LimitMarkerTTL: markerTTL}
	kv, err := js.CreateKeyValue(ctx, cfg)
	if errors.Is(err, jetstream.ErrBucketExists) {
		return js.KeyValue(ctx, cfg.Bucket)
	}
	return kv, err
}
