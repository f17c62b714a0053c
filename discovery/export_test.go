package discovery

// Lines reads a file's text, for tests.
func Lines(text string, whole bool) ([]Address, error) {
	a := collect(nil).lines("test", text, whole)
	return a.addresses, a.err
}

// EncodeEntry makes the text of an announcement on this machine, for tests.
var EncodeEntry = encodeEntry

// DecodeEntry reads one, for tests.
var DecodeEntry = decodeEntry
