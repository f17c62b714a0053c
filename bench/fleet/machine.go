package main

import (
	"os"
	"runtime"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// machine is where and with what it was measured.
type machine struct {
	System string `json:"system"`
	CPU    string `json:"cpu,omitempty"`
	Cores  int    `json:"cores"`
	Load   string `json:"load,omitempty"` // averages over 1, 5 and 15 minutes, before
	Go     string `json:"go"`
	Server string `json:"nats_server"`
	Client string `json:"nats_go"`
}

func thisMachine() machine {
	return machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuModel(), Cores: runtime.NumCPU(), Load: loadAverages(),
		Go: runtime.Version(), Server: server.VERSION, Client: nats.Version,
	}
}

// cpuModel is the processor's name, where Linux tells it.
func cpuModel() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverages tells whether the machine was busy with something else, where Linux tells it.
func loadAverages() string {
	raw, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(raw))
	if err != nil || len(fields) < 3 {
		return ""
	}
	return strings.Join(fields[:3], " ")
}
