package rolebus

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// The commands of the nats command line that errors name. They are for people, and for scripts: "nats stream edit" is not,
// because it asks before it touches the stream of a bucket, whatever its flags, and a request does not.

// update is the command that gives the stream other settings. All others stay: they are in it.
func (k *kv) update(want jetstream.StreamConfig) string {
	return "nats req " + quoted(k.subj.streamAPI("UPDATE")) + " " + quoted(asJSON(want))
}

// creation is the command that makes the stream. If the number of replicas was left open it is three in a cluster.
func (k *kv) creation() string {
	cfg := marked(k.config(), newFleetID())
	if cfg.Replicas == 0 && k.nc.ConnectedClusterName() != "" {
		cfg.Replicas = 3
	}
	return "nats req " + quoted(k.subj.streamAPI("CREATE")) + " " + quoted(asJSON(cfg))
}

// removal is the command that removes it.
func (k *kv) removal() string {
	command := "nats stream rm " + k.subj.stream() + " -f"
	if domain, ok := k.subj.domain(); ok {
		return command + " --js-domain " + quoted(domain)
	}
	if k.subj.prefix != "" {
		return command + " --js-api-prefix " + quoted(k.subj.prefix)
	}
	return command
}

// asJSON writes settings as the server's API takes them.
func asJSON(cfg jetstream.StreamConfig) string {
	cfg.Metadata = maps.Clone(cfg.Metadata)
	maps.DeleteFunc(cfg.Metadata, func(key, _ string) bool { return strings.HasPrefix(key, "_nats.") }) // the server's own
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(cfg); err != nil {
		return "{}" // never: there is nothing in it that has no JSON
	}
	// The command takes two braces for the beginning of a template. They can only be within a text.
	return strings.ReplaceAll(strings.TrimSpace(out.String()), "{{", `{\u007b`)
}

// quoted is a text as a shell takes it for one word.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
