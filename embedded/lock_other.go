//go:build aix || solaris || !(unix || windows)

package embedded

import "os"

// lockFile opens the file. These systems have no lock that ends with the open file, so nobody is kept out.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
}
