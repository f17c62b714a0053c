package death_test

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// The floor under -mode=events: the same kills, noticed by processes that do nothing but hear the server's event, and, as a
// node must, ask the dead one's subject and are told that nobody is there.

func TestFloor(t *testing.T) {
	if chosen(t, "floor") {
		t.Run("hear", func(t *testing.T) { floor(t, roleHearer) })
		t.Run("hear and ask", func(t *testing.T) { floor(t, roleAsker) })
	}
}

func floor(t *testing.T, role string) {
	_, ready, err := startChild(t, roleServer, config{Dir: t.TempDir(), Events: true}, nil)
	require.NoError(t, err)
	reports := make(chan line)
	start := func(nth int) *child {
		c, _, err := startChild(t, role, config{URL: ready.Text, Node: fmt.Sprint("client-", nth), Hold: hold}, func(l line) {
			select {
			case reports <- l:
			case <-t.Context().Done():
			}
		})
		require.NoError(t, err)
		return c
	}
	var clients []*child
	for i := range *processes {
		clients = append(clients, start(i))
	}
	var out tally
	for i := range *kills {
		at := time.Now().UnixNano()
		require.NoError(t, clients[0].kill())
		clients = clients[1:]
		seen := map[*node]end{}
		for range clients {
			select {
			case l := <-reports:
				require.Equal(t, kindAbsent, l.Kind, l.Text)
				seen[&node{}] = end{at: l.At, reason: l.Kind}
			case <-time.After(patience):
				require.Fail(t, "a client heard nothing")
			}
		}
		out.add(fmt.Sprint("client-", i), at, seen)
		clients = append(clients, start(*processes+i))
	}
	out.print(t)
}

// kindAbsent is what a client says of whoever went; any other kind, that it found something else.
const kindAbsent = "absent"

// runClient is a bare NATS client that hears who went, and may ask after it.
func runClient(cfg config, ask bool, in *bufio.Scanner) error {
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
		var err error = nats.ErrNoResponders
		if ask {
			_, name, _ := strings.Cut(string(msg.Data), `"name":"client-`)
			name, _, _ = strings.Cut(name, `"`)
			_, err = nc.Request("floor.client-"+name, nil, patience)
		}
		l := line{Kind: kindAbsent, At: time.Now().UnixNano()}
		if !errors.Is(err, nats.ErrNoResponders) {
			l.Kind, l.Text = "there", fmt.Sprint(err)
		}
		saw <- l
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
