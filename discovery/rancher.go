package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Rancher finds the containers of this container's own service in Rancher 1, by the metadata that it serves to each: libcluster's Rancher. It asks
// http://rancher-metadata/latest/self/service, see [BaseURL], every [Interval].
//
// A container counts if it has a primary_ip, and its state is not one of those that say that it does not run: stopping, stopped, removing,
// removed, purging, purged, error and erroring. One that has no address yet is not missed. Unhealthy ones count: a server
// that cannot be reached costs an attempt, one that is forgotten a connection.
//
// Port and scheme are not in the metadata: see [Port] and [Scheme]. Options: [BaseURL], [HTTPClient], [Interval], [Timeout], [MaxBackoff],
// [Port], [Scheme], [Routes], [Cluster], [TLSName], and those for all.
func Rancher(opts ...Option) Strategy {
	o := collect(opts, forPolls, forShape, []string{"BaseURL", "HTTPClient"})
	if o.base == "" {
		o.base = "http://rancher-metadata"
	}
	if !o.has("HTTPClient") {
		o.client = near
	}
	from := strings.TrimSuffix(o.base, "/") + "/latest/self/service"
	return made("Rancher", withoutSecrets(o.base), o, o.polling(func(ctx context.Context) []answer {
		var service map[string]json.RawMessage
		if _, err := GetJSON(ctx, o.client, from, nil, &service); err != nil {
			return []answer{{err: ofRancher(err)}}
		}
		return []answer{o.containers(from, service)}
	}), o.shapeErr())
}

// near is for what is asked on the network of this machine alone: by no proxy, and without keeping connections, of which one an interval is
// enough.
var near = &http.Client{Transport: func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.DisableKeepAlives = nil, true
	return t
}()}

// BaseURL sets where the metadata service is. For [Rancher]. Default: http://rancher-metadata.
func BaseURL(base string) Option {
	return choice("BaseURL", func(o *options) {
		u, err := url.Parse(base)
		switch {
		case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
			o.wrong("BaseURL %s: it must be as http://host:port, with nothing but a path after it", withoutSecrets(base))
		}
		o.base = base
	})
}

// HTTPClient sets the client by which a strategy asks. For [Rancher]. Default: one that uses no proxy, as what is asked is near.
func HTTPClient(client *http.Client) Option {
	return choice("HTTPClient", func(o *options) {
		if o.client = client; client == nil {
			o.wrong("HTTPClient: it is nil")
		}
	})
}

// ofRancher says what a failure means here.
func ofRancher(err error) error {
	var f *Failure
	if errors.As(err, &f) {
		switch f.Reason {
		case ReasonNotFound, ReasonGone:
			f.Mend = "is this container one of a service of Rancher 1? else say by BaseURL where its metadata is"
		case ReasonUnavailable:
			f.Mend = "does this run in a container of Rancher 1, in its managed network? else say by BaseURL where its metadata is"
		}
	}
	return err
}

// idle are the states of containers that do not run.
var idle = map[string]bool{
	"stopping": true, "stopped": true, "removing": true, "removed": true, "purging": true, "purged": true, "error": true, "erroring": true,
}

func (o *options) containers(from string, service map[string]json.RawMessage) answer {
	source := "GET " + from
	wrong := func(err error) *Failure {
		return &Failure{Source: source, Reason: ReasonMalformed, Err: err, Mend: "is that the metadata of Rancher 1, of its version latest?"}
	}
	list, ok := service["containers"]
	if !ok {
		return answer{err: wrong(errors.New("the service has no list of containers"))}
	}
	var each []json.RawMessage
	if err := json.Unmarshal(list, &each); err != nil {
		return answer{err: wrong(errors.New("the containers of the service are no list"))}
	}
	var addresses []Address
	var mistakes []error
	for i, text := range each {
		var c struct {
			Address *string `json:"primary_ip"`
			State   string  `json:"state"`
		}
		if err := json.Unmarshal(text, &c); err != nil {
			mistakes = append(mistakes, fmt.Errorf("container %d: %w", i+1, err))
			continue
		}
		if c.Address != nil && *c.Address != "" && !idle[c.State] {
			addresses = append(addresses, o.complete(Address{Host: *c.Address}))
		}
	}
	switch {
	case len(mistakes) > 0:
		return answer{addresses: addresses, err: wrong(few(mistakes))}
	case len(addresses) == 0:
		return answer{err: empty(source, fmt.Sprintf("of its %d containers none runs and has an address", len(each)))}
	}
	return answer{addresses: addresses}
}
