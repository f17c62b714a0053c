//go:build unix && !aix && !solaris

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Take opens the file, which need not be there, and holds it until it is closed. The lock belongs to the open file, not to the process, so
// another attempt in the same process finds it as well.
func Take(path string) (*os.File, error) { return take(path, 0, 0o640) }

// Create makes a new file for this user alone, and holds it as Take does. It may be renamed and read by others meanwhile.
func Create(path string) (*os.File, error) {
	f, err := take(path, os.O_EXCL, 0o600)
	if errors.Is(err, ErrHeld) {
		os.Remove(path) // somebody looked just then whether it is held
	}
	return f, err
}

func take(path string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|flag, mode)
	if err != nil {
		return nil, err
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Held says whether whoever made the file with Create, or took it, still holds it. f is open for reading, and may be closed afterwards.
func Held(f *os.File) (bool, error) {
	err := flock(f, syscall.LOCK_SH)
	if errors.Is(err, ErrHeld) {
		return true, nil
	}
	return false, err
}

func flock(f *os.File, how int) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrHeld
		default:
			return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}
