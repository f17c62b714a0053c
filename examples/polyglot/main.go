// Command polyglot hears every change of a fleet without rolebus: all that it takes is a NATS client, in any language,
// and the one header of the announcements, which is JSON.
//
//	go run ./examples/polyglot -url nats://127.0.0.1:4222 -bucket rolebus
//
// It runs until Ctrl-C. Announcements have no body. What a node is now stands whole in the key-value bucket, as JSON:
//
//	nats kv get rolebus default.web-1
package main

import (
	"context"
	"encoding/json"
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
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "polyglot: %q: no arguments are taken, only flags\n", flag.Args())
		flag.Usage()
		os.Exit(2)
	}
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
		var c change
		err := json.Unmarshal([]byte(msg.Header.Get("Rolebus")), &c)
		if err == nil && c.Format == 1 && len(tokens) == 4 && msg.Header.Get("Nats-Stream") == "KV_"+bucket {
			fmt.Printf("%s  generation %s\n", line(name(tokens[2]), name(tokens[3]), c), msg.Header.Get("Nats-Sequence"))
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

// change is what an announcement says. What it is, its structure tells.
type change struct {
	Format         int
	Base           int      // of a delta: the version that it changes
	Added, Removed []string // of a delta
	Roles          []string // of a state: all of them
	Gone           string   // of a tombstone: why
}

// line tells one announcement: a delta names roles added and removed, a state all roles of a node that came or came
// back, a notice that the record is too large to be announced; left and expired are ends.
func line(scope, node string, c change) string {
	kind := "notice"
	switch {
	case c.Gone != "":
		kind = c.Gone
	case c.Base != 0:
		kind = "delta"
	case c.Roles != nil:
		kind = "state"
	}
	out := fmt.Sprintf("%-8s %s/%s", kind, scope, node)
	for _, set := range []struct {
		mark  string
		roles []string
	}{{"", c.Roles}, {"+", c.Added}, {"-", c.Removed}} {
		if set.roles != nil {
			roles, _ := json.Marshal(set.roles) // of texts
			out += "  " + set.mark + string(roles)
		}
	}
	return out
}

// name reads a token of a subject: every byte but letters, digits, - and _ is written =XX, in hex.
func name(token string) string {
	text, err := url.PathUnescape(strings.ReplaceAll(token, "=", "%"))
	if err != nil {
		return token
	}
	return text
}
