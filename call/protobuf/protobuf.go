// Package protobuf has package call send and take protocol buffers. It is a module of its own, so that nobody else depends on them.
package protobuf

import (
	"fmt"
	"reflect"

	"github.com/rolebus/rolebus/call"
	"google.golang.org/protobuf/proto"
)

// Codec encodes inputs and outputs that are messages of google.golang.org/protobuf, such as *wrapperspb.StringValue: pointers to what
// protoc-gen-go generates.
//
//	call.Func[*pb.Order, *pb.Receipt](scope, "billing", "charge", call.Encoding(protobuf.Codec))
//
// A nil input or output cannot be encoded. Fields that the reader does not know are kept.
var Codec call.Codec = codec{}

type codec struct{}

func (codec) ContentType() string { return "application/protobuf" }

func (codec) Encode(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("a %T is no message of protocol buffers", v)
	}
	if !m.ProtoReflect().IsValid() {
		return nil, fmt.Errorf("a nil %T", v)
	}
	return proto.Marshal(m)
}

// Decode makes the message to which v, a pointer to a pointer, is to point.
func (codec) Decode(data []byte, v any) error {
	to := reflect.ValueOf(v)
	if to.Kind() != reflect.Pointer || to.IsNil() || to.Elem().Kind() != reflect.Pointer {
		return fmt.Errorf("a %T is no pointer to a message of protocol buffers", v)
	}
	made := reflect.New(to.Elem().Type().Elem())
	m, ok := made.Interface().(proto.Message)
	if !ok {
		return fmt.Errorf("a %T is no message of protocol buffers", made.Interface())
	}
	if err := proto.Unmarshal(data, m); err != nil {
		return err
	}
	to.Elem().Set(made)
	return nil
}
