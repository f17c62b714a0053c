package hello

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// secure begins TLS, if there is any.
func (a *Asker) secure(ctx context.Context, conn net.Conn, to destination) (_ net.Conn, over bool, err error) {
	if a.TLS == nil {
		return conn, false, nil
	}
	config := a.TLS(to.tlsName)
	if config == nil {
		return conn, false, nil
	}
	if config.ServerName == "" {
		config = config.Clone()
		if config.ServerName = to.tlsName; to.tlsName == "" {
			config.ServerName, _, _ = net.SplitHostPort(to.address)
		}
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, true, noTLS(err)
	}
	return secure, true, nil
}

// noTLS is why an asker's handshake failed.
func noTLS(err error) error {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header) && string(header.RecordHeader[:len(magic)]) == magic:
		return fmt.Errorf("%w: this side speaks it, and the other does not", ErrTLS)
	case errors.As(err, &header):
		return begins(header.RecordHeader[:])
	case refusedByTLS(err):
		return fmt.Errorf("%w: %w", ErrTLS, err)
	case gone(err):
		return lost(err)
	}
	return fmt.Errorf("%w: %w", ErrTLS, err)
}

// refusedByTLS says whether an error is the other side's alert. With TLS 1.3 that may come after our own handshake, when it does not like our
// certificate.
func refusedByTLS(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// gone says whether an error is the network's: nobody said anything about TLS.
func gone(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op != "remote error" && op.Op != "local error" || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// begun is a connection of which something was read already, that is read again.
type begun struct {
	net.Conn
	read []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.read)
	b.read = b.read[n:]
	return n, nil
}
