// Command dashboard shows a fleet in a browser, as it changes. It is an observer: the fleet does not see it.
//
//	go run ./examples/dashboard                                with a server and a small fleet of its own, to look at
//	go run ./examples/dashboard -url nats://127.0.0.1:4222     the fleet there
//
// It serves until Ctrl-C: the page on /, its state as server-sent events on /events, health on /livez and /readyz. Where to
// look: dashboard.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

func main() {
	url := flag.String("url", "", "NATS server, such as nats://127.0.0.1:4222; without it a server and a fleet are started to look at")
	bucket := flag.String("bucket", "rolebus", "the bucket of the fleet")
	listen := flag.String("listen", "127.0.0.1:8080", "where to serve the page")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "dashboard: %q: no arguments are taken, only flags\n", flag.Args())
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *url, *bucket, *listen)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, bucket, listen string) (err error) {
	listener, err := net.Listen("tcp", listen) // first: a port that is taken is told at once
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // closed already, if it was served
	if url == "" {
		server, failed := embedded.Start()
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		url = server.URL()
		demoCtx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- demo(demoCtx, url, bucket) }()
		defer func() {
			stop()
			err = errors.Join(err, <-ended)
		}()
	}

	d := newDashboard()
	bus, err := rolebus.Connect(ctx, url,
		rolebus.WithBucket(bucket),
		rolebus.WithObserver(),
		rolebus.WithAllScopes(),
		rolebus.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))), // such as for what it waits
		rolebus.WithHandler(d.handler()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	return serve(ctx, listener, d.routes(bus))
}

// serve serves until ctx is over, and then ends the streams that are open.
func serve(ctx context.Context, listener net.Listener, routes http.Handler) error {
	server := &http.Server{
		Handler: routes, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Printf("the fleet is shown on http://%s\n", listener.Addr())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	soon, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := server.Shutdown(soon)
	if serving := <-ended; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	return err
}
