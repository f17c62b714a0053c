package hello

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"
)

func TestAnOpeningIsWhatTheCommentSays(t *testing.T) {
	t.Parallel()
	o := newOpening(sealed)
	require.Equal(t, "7262680101", hex.EncodeToString(o[:5]))
	other := newOpening(sealed)
	require.False(t, bytes.Equal(o[5:], other[5:]))
	require.Len(t, o, 29)
	require.Len(t, verdict{}, 18)
}

// mac and expanded are HKDF-SHA256 by hand, as RFC 5869 has it, for at most 32 bytes.
func mac(key, b []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return h.Sum(nil)
}

func expanded(secret string, salt []byte, info string, length int) []byte {
	return mac(mac(salt, []byte(secret)), append([]byte("rolebus hello 1 "+info), 1))[:length]
}

// An asker written after the package's comment alone.
func TestAnAskerByHand(t *testing.T) {
	t.Parallel()
	p := newPlace(t, &Server{Secrets: these("x", secret)})
	conn, err := net.Dial("tcp", p.at)
	require.NoError(t, err)
	defer conn.Close()
	read := func(n int) []byte {
		b := make([]byte, n)
		_, err := io.ReadFull(conn, b)
		require.NoError(t, err)
		return b
	}
	write := func(b []byte) {
		_, err := conn.Write(b)
		require.NoError(t, err)
	}
	opening := append([]byte("rbh\x01\x01"), "twenty-four random bytes"...)
	write(opening)
	salt := append(opening, read(29)...)
	proofs := make([]byte, 64)
	copy(proofs[32:], expanded(secret, salt, "asker proves", 16)) // the third
	write(proofs)
	require.Equal(t, append([]byte{1, 2}, expanded(secret, salt, "server proves", 16)...), read(18))
	says, err := chacha20poly1305.New(expanded(secret, salt, "asker speaks", 32))
	require.NoError(t, err)
	hears, err := chacha20poly1305.New(expanded(secret, salt, "server speaks", 32))
	require.NoError(t, err)
	for i := range byte(3) {
		nonce := make([]byte, 12)
		nonce[11] = i
		body := says.Seal(nil, nonce, []byte("hand"), nil)
		write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
		answer, err := hears.Open(nil, nonce, read(int(binary.BigEndian.Uint32(read(4)))), nil)
		require.NoError(t, err)
		require.Equal(t, "hand too", string(answer))
	}
}

// A conversation to hold other programs against: the secret "a secret of the tests", and openings whose random bytes are 0 to 23, the
// asker's, and 24 to 47.
func TestVector(t *testing.T) {
	t.Parallel()
	mine, theirs := opening(opens(1, 1)), opening(opens(1, 1))
	for i := range 24 {
		mine[5+i], theirs[5+i] = byte(i), byte(24+i)
	}
	p, err := newPact(secret, &mine, &theirs)
	require.NoError(t, err)
	require.Equal(t, "34f2a1617e3e23b9ef7a22943f0b9c23", hex.EncodeToString(p.asker[:]))
	require.Equal(t, "5f1fd3ac8393ac734dfeb89b2205b63c", hex.EncodeToString(p.server[:]))
	var b bytes.Buffer
	asker, err := p.line(&b, true)
	require.NoError(t, err)
	require.NoError(t, asker.write([]byte("?")))
	require.NoError(t, asker.write([]byte("?")))
	require.Equal(t, "0000001109b817fd2325ca29f62d3ec4d55f80cb65000000117e57290e5667cc9c16ee307dde6890bb2f", hex.EncodeToString(b.Bytes()))
	b.Reset()
	server, err := p.line(&b, false)
	require.NoError(t, err)
	require.NoError(t, server.write([]byte("!")))
	require.Equal(t, "00000011d714932a1ca8db70e0e9f43e594dd84640", hex.EncodeToString(b.Bytes()))
}
