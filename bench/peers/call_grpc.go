package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// rawCodec leaves bytes as they are: what is compared is the call, not an encoding.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// echoService is what a code generator would write for a service with one method.
var echoService = grpc.ServiceDesc{
	ServiceName: "Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Call",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			input := new([]byte)
			if err := decode(input); err != nil {
				return nil, err
			}
			return input, nil
		},
	}},
}

type grpcServer struct {
	*grpc.Server
	address string
	served  chan error
}

func answerGRPC() (*grpcServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &grpcServer{grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{})), listener.Addr().String(), make(chan error, 1)}
	s.RegisterService(&echoService, nil)
	go func() { s.served <- s.Serve(listener) }()
	return s, nil
}

func (s *grpcServer) close() error {
	s.Stop()
	return <-s.served
}

func dialGRPC(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func callGRPC(conn *grpc.ClientConn) callFunc {
	return func(ctx context.Context, input []byte) ([]byte, error) {
		var output []byte
		err := conn.Invoke(ctx, "/Echo/Call", &input, &output, grpc.ForceCodecV2(rawCodec{}))
		return output, err
	}
}
