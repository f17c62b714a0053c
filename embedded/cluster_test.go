package embedded_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

func TestThreeFormACluster(t *testing.T) {
	dir := t.TempDir()
	var all []*embedded.ClusterServer
	began := time.Now()
	for i := range 5 {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})).With("p", i)
		_ = log
		c, err := embedded.Cluster(t.Context(), discovery.Local(discovery.Directory(filepath.Join(dir, "local"))), embedded.WithSize(3), embedded.WithName(fmt.Sprintf("p%d", i)), embedded.WithStoreDir(filepath.Join(dir, fmt.Sprint(i))), embedded.WithLogger(log))
		require.NoError(t, err)
		defer c.Close()
		all = append(all, c)
	}
	for _, c := range all {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		require.NoError(t, c.Ready(ctx))
		cancel()
		fmt.Println(time.Since(began), c.URL())
	}
	for _, c := range all {
		fmt.Printf("%+v\n", c.State())
	}
	bus, err := all[4].Connect(t.Context(), rolebus.WithNode("x"))
	require.NoError(t, err)
	fmt.Println(time.Since(began), "bus")
	require.NoError(t, bus.Close())
	began = time.Now()
	require.NoError(t, all[0].Leave(t.Context()))
	fmt.Println(time.Since(began), "left")
	time.Sleep(time.Second)
	for _, c := range all {
		fmt.Printf("%+v\n", c.State())
	}
}
