package death_test

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// The floor under -mode=events: the same kills, noticed by processes that do nothing but hear the server's event, ask the
// dead one's subject, and are told that nobody is there. No node can be sooner without believing the event alone.

func TestFloor(t *testing.T) {
	if !chosen("floor") {
		return
	}
	_, ready, err := startChild(t, roleServer, config{Dir: t.TempDir(), Events: true}, nil)
	require.NoError(t, err)
	var clients []*child
	reports := make(chan line, 2**processes)
	start := func(nth int) {
		c, _, err := startChild(t, roleClient, config{URL: ready.Text, Node: fmt.Sprint("client-", nth), Hold: hold}, func(l line) { reports <- l })
		require.NoError(t, err)
		clients = append(clients, c)
	}
	for i := range *processes {
		start(i)
	}
	heard, asked := tally{}, tally{}
	for i := range *kills {
		at := time.Now().UnixNano()
		require.NoError(t, clients[0].signal(syscall.SIGKILL))
		clients = clients[1:]
		ends := map[string]map[*node]end{}
		for range 2 * len(clients) {
			select {
			case l := <-reports:
				if ends[l.Kind] == nil {
					ends[l.Kind] = map[*node]end{}
				}
				ends[l.Kind][&node{}] = end{at: l.At, reason: l.Reason}
			case <-time.After(patience):
				t.Fatal("a client heard nothing")
			}
		}
		heard.add(fmt.Sprint("client-", i), at, ends[kindHeard])
		asked.add(fmt.Sprint("client-", i), at, ends[kindAsked])
		start(*processes + i)
	}
	t.Log("the event was heard:")
	heard.print(t)
	t.Log("the dead one's subject was asked, and nobody was there:")
	asked.print(t)
}

const (
	kindHeard = "heard"
	kindAsked = "asked"
)

// runClient is a bare NATS client that asks after whoever went.
func runClient(cfg config, in *bufio.Scanner) error {
	nc, err := nats.Connect(cfg.URL, nats.Name(cfg.Node))
	if err != nil {
		return err
	}
	defer nc.Close()
	if _, err := nc.Subscribe("floor."+cfg.Node, func(*nats.Msg) {}); err != nil {
		return err
	}
	saw := make(chan line, 1<<8)
	go tell(saw, cfg.Hold)
	_, err = nc.Subscribe("rolebus.sys.disconnect", func(msg *nats.Msg) {
		heard := time.Now().UnixNano()
		_, name, _ := strings.Cut(string(msg.Data), `"name":"client-`)
		name, _, _ = strings.Cut(name, `"`)
		_, err := nc.Request("floor.client-"+name, nil, patience)
		asked := time.Now().UnixNano()
		reason := "absent"
		if !errors.Is(err, nats.ErrNoResponders) {
			reason = fmt.Sprint("not absent: ", err)
		}
		saw <- line{Kind: kindHeard, At: heard}
		saw <- line{Kind: kindAsked, At: asked, Reason: reason}
	})
	if err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	say(line{Kind: kindReady})
	for in.Scan() {
	}
	return nil
}
