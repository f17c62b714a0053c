package main

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

type etcdWriter struct{ client *clientv3.Client }

func writeEtcd(_ context.Context, url string) (writer, error) {
	client, err := dialEtcd(url)
	return etcdWriter{client}, err
}

func (w etcdWriter) write(ctx context.Context, n int) error {
	_, err := w.client.Put(ctx, "default/writer", string(record(n)))
	return err
}

func (w etcdWriter) address() string { return "" }
func (w etcdWriter) close() error    { return w.client.Close() }

func readEtcd(ctx context.Context, url string, saw func(int, time.Time)) (closer, error) {
	client, err := dialEtcd(url)
	if err != nil {
		return nil, err
	}
	return endEtcd(client), watchEtcd(ctx, client, "default/", func(ev *clientv3.Event) {
		at := time.Now()
		saw(must(recordNumber(ev.Kv.Value)), at)
	})
}
