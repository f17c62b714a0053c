// Package ec2 finds NATS servers on EC2 instances by a tag, as libcluster_ec2 does: a strategy of one's own that asks again and again.
// It needs no SDK: the Query API answers XML, and sign.go signs a request.
package ec2

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/rolebus/rolebus/discovery"
)

// Config says whom to ask for what.
type Config struct {
	Endpoint, Region string // such as https://ec2.eu-central-1.amazonaws.com, eu-central-1
	Tag, Value       string // of the instances
	// Credentials are asked for at each lookup, as those of a role change. They need the right ec2:DescribeInstances.
	Credentials func(ctx context.Context) (Credentials, error)
}

type response struct {
	Instances []struct {
		IP string `xml:"privateIpAddress"` // or ipAddress, the public one
	} `xml:"reservationSet>item>instancesSet>item"`
	Next string `xml:"nextToken"`
	Code string `xml:"Errors>Error>Code"` // of a refusal
}

// New finds the instances that run and have the tag. Port and scheme are by option: see [discovery.Port] and [discovery.Scheme].
func New(c Config, opts ...discovery.Option) discovery.Strategy {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}} // nothing is left at the end
	return discovery.Poll("EC2 "+c.Tag+"="+c.Value, func(ctx context.Context) (list []discovery.Address, err error) {
		for next := ""; ; {
			page, err := c.ask(ctx, client, next)
			if err != nil {
				return list, err // what came before stays, and so does what was found earlier: the list lacks something
			}
			for _, i := range page.Instances {
				if i.IP != "" { // it has none while it starts
					list = append(list, discovery.Address{Host: i.IP})
				}
			}
			if next = page.Next; next == "" {
				return list, nil
			}
		}
	}, opts...)
}

func (c Config) ask(ctx context.Context, client *http.Client, next string) (page response, err error) {
	query := url.Values{"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}, "Filter.1.Name": {"tag:" + c.Tag}, "Filter.1.Value.1": {c.Value},
		"Filter.2.Name": {"instance-state-name"}, "Filter.2.Value.1": {"running"}, "MaxResults": {"1000"}}
	if next != "" {
		query.Set("NextToken", next)
	}
	req, wrong := http.NewRequestWithContext(ctx, http.MethodGet, c.Endpoint+"/?"+query.Encode(), nil)
	who, err := c.Credentials(ctx)
	if err = errors.Join(wrong, err); err != nil {
		return page, err
	}
	who.sign(req, c.Region, "ec2", time.Now())
	answer, err := client.Do(req)
	if err != nil {
		return page, err
	}
	defer answer.Body.Close()
	wrong = xml.NewDecoder(io.LimitReader(answer.Body, 8<<20)).Decode(&page)
	f := &discovery.Failure{Source: "EC2 DescribeInstances", Reason: discovery.ReasonOfStatus(answer.StatusCode),
		Err: errors.New(answer.Status + " " + page.Code), Mend: "have the credentials the right ec2:DescribeInstances?"}
	if answer.StatusCode == http.StatusOK {
		if wrong == nil {
			return page, nil
		}
		f.Reason, f.Err, f.Mend = discovery.ReasonMalformed, wrong, "is that the endpoint of EC2?"
	}
	return page, f
}
