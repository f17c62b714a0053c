package main

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// Where plain requests are answered.
const (
	serialSubject     = "echo.serial"
	concurrentSubject = "echo.concurrent"
	microSubject      = "echo.micro"
)

// answerNATS answers at all three, for as long as the connection lives.
func answerNATS(nc *nats.Conn) error {
	if _, err := nc.Subscribe(serialSubject, respond); err != nil {
		return err
	}
	if _, err := nc.Subscribe(concurrentSubject, func(msg *nats.Msg) { go respond(msg) }); err != nil {
		return err
	}
	_, err := micro.AddService(nc, micro.Config{Name: "echo", Version: "1.0.0", Endpoint: &micro.EndpointConfig{
		Subject: microSubject,
		Handler: micro.HandlerFunc(func(r micro.Request) { told(r.Respond(r.Data())) }),
	}})
	if err != nil {
		return err
	}
	return nc.Flush()
}

func respond(msg *nats.Msg) { told(msg.Respond(msg.Data)) }

// told says why an answer was not given: the caller waits in vain, and fails.
func told(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "answer:", err)
	}
}

// callSubject calls by requests to a subject.
func callSubject(nc *nats.Conn, subject string) callFunc {
	return func(_ context.Context, input []byte) ([]byte, error) {
		msg, err := nc.Request(subject, input, process.Patience)
		if err != nil {
			return nil, err
		}
		return msg.Data, nil
	}
}
