//go:build aix || solaris || !(unix || windows)

package filelock

import (
	"errors"
	"os"
)

// Take opens the file. These systems have no lock that ends with the open file, so nobody is kept out.
func Take(path string) (*os.File, error) { return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640) }

// Create fails: see Take.
func Create(path string) (*os.File, error) {
	return nil, &os.PathError{Op: "lock", Path: path, Err: errors.ErrUnsupported}
}

// Held fails: see Take.
func Held(f *os.File) (bool, error) {
	return false, &os.PathError{Op: "lock", Path: f.Name(), Err: errors.ErrUnsupported}
}
