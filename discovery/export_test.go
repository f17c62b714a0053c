package discovery

// Lines reads a file's text, for tests.
func Lines(text string, whole bool) ([]Address, error) {
	a := collect(nil).lines("test", text, whole)
	return a.addresses, a.err
}
