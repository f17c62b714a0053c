// Command polyglot hears every change of a fleet without rolebus: all that it takes is a NATS client, in any language,
// and the headers of the announcements.
//
//	go run ./examples/polyglot -url nats://127.0.0.1:4222 -bucket rolebus
//
// It runs until Ctrl-C. Announcements have no body. What a node is now stands whole in the key-value bucket, as JSON:
//
//	nats kv get rolebus default.web-1
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
)

func main() {
	server := flag.String("url", nats.DefaultURL, "NATS server")
	bucket := flag.String("bucket", "rolebus", "the fleet's bucket")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := listen(ctx, *server, *bucket)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "polyglot:", err)
		os.Exit(1)
	}
}

func listen(ctx context.Context, server, bucket string) error {
	nc, err := nats.Connect(server, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	subject := bucket + ".changes.>"
	_, err = nc.Subscribe(subject, func(msg *nats.Msg) {
		tokens := strings.Split(msg.Subject, ".") // <bucket>.changes.<scope>.<node>
		// The server republished it if it names the stream. What else a careful reader checks: docs/PROTOCOL.md.
		if len(tokens) == 4 && msg.Header.Get("Nats-Stream") == "KV_"+bucket {
			fmt.Println(line(name(tokens[2]), name(tokens[3]), msg.Header))
		}
	})
	if err != nil {
		return err
	}
	if err := nc.Flush(); err != nil { // the server has the subscription
		return err
	}
	fmt.Println("listening on", subject)
	<-ctx.Done()
	return nil
}

// line tells one announcement: a delta names roles added and removed, a state all roles of a node that came or came
// back, a notice that the record is too large to be announced; left and expired are ends.
func line(scope, node string, hdr nats.Header) string {
	out := fmt.Sprintf("%-8s %s/%s", hdr.Get("Rolebus-Change"), scope, node)
	for _, h := range []struct{ mark, header string }{
		{"", "Rolebus-Roles"}, {"+", "Rolebus-Added"}, {"-", "Rolebus-Removed"},
	} {
		if roles := hdr.Get(h.header); roles != "" { // a JSON array of strings
			out += "  " + h.mark + roles
		}
	}
	return out + "  generation " + hdr.Get("Nats-Sequence")
}

// name reads a token of a subject: every byte but letters, digits, - and _ is written =XX, in hex.
func name(token string) string {
	text, err := url.PathUnescape(strings.ReplaceAll(token, "=", "%"))
	if err != nil {
		return token
	}
	return text
}
