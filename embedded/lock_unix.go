//go:build unix && !aix && !solaris

package embedded

import (
	"errors"
	"os"
	"syscall"
)

// lockFile opens the file and locks it until it is closed. The lock belongs to the open file, not to the process, so
// another attempt in the same process finds it as well.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errInUse
		}
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return f, nil
}
