package call

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Codec turns inputs and outputs into bytes and back. Both sides must have the same one: its content type travels with whatever is
// not JSON, and one that the other side does not know is an [ErrContentType]. Its methods may be called from any goroutine.
type Codec interface {
	// ContentType names the encoding, such as "application/json": printable ASCII.
	ContentType() string
	// Encode encodes an input or an output. What it returns must not be changed afterwards.
	Encode(v any) ([]byte, error)
	// Decode decodes into what v, a pointer to an input or an output, points to. It may keep data.
	Decode(data []byte, v any) error
}

// The codecs of this package.
var (
	// JSON is encoding/json. It is the default.
	JSON Codec = jsonCodec{}
	// Raw takes inputs and outputs of type []byte or string as they are.
	Raw Codec = rawCodec{}
)

type jsonCodec struct{}

const typeJSON = "application/json"

func (jsonCodec) ContentType() string             { return typeJSON }
func (jsonCodec) Encode(v any) ([]byte, error)    { return json.Marshal(v) }
func (jsonCodec) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }

type rawCodec struct{}

func (rawCodec) ContentType() string { return "application/octet-stream" }

func (rawCodec) Encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, fmt.Errorf("a %T: raw are []byte and string only", v)
}

func (rawCodec) Decode(data []byte, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = data
	case *string:
		*v = string(data)
	default:
		return fmt.Errorf("a %T: raw are []byte and string only", v)
	}
	return nil
}

// checkCodec says what is wrong with a codec.
func checkCodec(c Codec) (err error) {
	if c == nil {
		return errors.New("nil codec")
	}
	defer func() { // a nil pointer, for one
		if fault := recover(); fault != nil {
			err = fmt.Errorf("content type of a %T: panic: %v", c, fault)
		}
	}()
	kind := c.ContentType()
	if bareType(kind) == "" || len(kind) > 128 {
		return fmt.Errorf("content type %q: 1 to 128 bytes", clip(kind))
	}
	for i := range len(kind) {
		if kind[i] < ' ' || kind[i] > '~' {
			return fmt.Errorf("content type %q: printable ASCII", kind)
		}
	}
	return nil
}

// encode turns an input or an output into bytes. With [Raw], bytes are handed on as they are, and nothing is allocated.
func encode[T any](c Codec, v T) ([]byte, error) {
	if raw, is := any(v).([]byte); is && c == Raw {
		return raw, nil
	}
	return encodeBy(c, v)
}

// decode is the way back. If it fails it returns nothing, not half of it.
func decode[T any](c Codec, data []byte) (T, error) {
	var raw, none T
	if bytes, is := any(&raw).(*[]byte); is && c == Raw {
		*bytes = data
		return raw, nil
	}
	v := new(T)
	if err := decodeBy(c, data, v); err != nil {
		return none, err
	}
	return *v, nil
}

// encodeBy and decodeBy run a codec, which may be the user's: a panic is an error like any other.
func encodeBy(c Codec, v any) (data []byte, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			data, err = nil, because(ErrEncode, "panic: %v", fault)
		}
	}()
	if data, err = c.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncode, err)
	}
	return data, nil
}

func decodeBy(c Codec, data []byte, v any) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = because(ErrDecode, "panic: %v", fault)
		}
	}()
	if err = c.Decode(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return nil
}
