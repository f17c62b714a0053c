// Package hello is how processes that form a cluster of NATS servers speak to each other, beside that cluster: one asks, the other answers,
// over TCP. What they say is the caller's, at most [Most] bytes each way. Who has none of the secrets gets no answer, and no word that says
// more than that this is the place: a stranger on the port learns nothing and changes nothing.
//
//	asker   opening  ------------------------->  server
//	asker   <-------------------------  opening
//	asker   proofs   ------------------------->          not without secrets
//	asker   <-------------------------  verdict
//	asker   question ------------------------->          ... and again, one after another, as long as both like
//	asker   <-------------------------   answer
//
// # The form, version 1
//
// It goes over TCP, or in TLS over TCP. Numbers are big endian. Up to the verdict all is of a fixed length:
//
//	opening   3  "rbh"
//	          1  the version, 1
//	          1  the mode: 0 in the clear, 1 sealed, 2 (a server's only) come again with TLS
//	         24  random, anew for each connection
//	proofs   64  four of 16 bytes, one for each secret that the asker has, in its order; random bytes for those it does not have
//	verdict   1  1 welcome, 2 none of these secrets, 3 no place
//	          1  which of the proofs was right, 0 to 3; in the clear, and unless welcome: 0
//	         16  the server's own proof; in the clear, and unless welcome: zeros
//
// The first four bytes are the same in all versions. A server of another version, in another mode, or with TLS where there is none, or the
// other way round, answers with its own opening, in the clear if there is no TLS that both speak, and with nothing after it; the asker learns
// from it what is wrong. Whoever begins otherwise gets nothing.
//
// Of a secret and the two openings comes what only these two can know, for this connection alone, by HKDF-SHA256: the secret is the key
// material, the asker's opening and then the server's are the salt (58 bytes), and of the same extract are expanded, by info:
//
//	"rolebus hello 1 asker proves"    16 bytes, the asker's proof
//	"rolebus hello 1 server proves"   16 bytes, the server's proof
//	"rolebus hello 1 asker speaks"    32 bytes, the key of what the asker says
//	"rolebus hello 1 server speaks"   32 bytes, the key of what the server says
//
// The server takes the first of the proofs that is right for a secret of its own: so there is one in common, as long as there is one at all,
// and secrets can be exchanged in any order (see below). The asker proves itself first; until it has, the server sends nothing that depends
// on a secret, and reads nothing that is longer than this. What was recorded is of no use: each side adds its own random bytes.
// An asker knows that one of ours answers, not which one: somebody in between can pass a connection on to another of ours, whole. TLS tells
// who it is, and so can answers.
//
// A question, and an answer, is a frame:
//
//	4  how many bytes follow; an answer of 0xffffffff: this was not heard, and the connection ends: connect anew
//	   the payload, sealed with ChaCha20-Poly1305: at most 65,536 bytes and a tag of 16
//
// The nonce is four zeros and a counter of eight bytes, which begins with 0 in each direction. There are no additional data. In the clear the
// payload is as it is. A server that closes without an answer does not want to give one.
//
// # Secrets
//
// They are as long as a key: who hears a connection can try what the secret might be, at his leisure. Who learns a secret later can read what
// he recorded: TLS is for those who mind. To exchange a secret, give all processes the new one and the old one, in any order, and when all
// have both, the new one alone. A connection whose secret either side does not accept any more ends at its next question, and is made anew.
package hello
