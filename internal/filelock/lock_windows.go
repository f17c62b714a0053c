package filelock

import (
	"errors"
	"os"
	"syscall"
)

const errSharingViolation = syscall.Errno(32)

// Take opens the file, which need not be there, shared with nobody until it is closed.
func Take(path string) (*os.File, error) { return open(path, 0, syscall.OPEN_ALWAYS) }

// Create makes a new file, and holds it until it is closed: others may read, rename and delete it, but not write it.
func Create(path string) (*os.File, error) {
	return open(path, syscall.FILE_SHARE_READ|shareDelete, syscall.CREATE_NEW)
}

// Held says whether whoever made the file with Create, or took it, still holds it. f is open for reading.
func Held(f *os.File) (bool, error) {
	own, err := open(f.Name(), syscall.FILE_SHARE_READ|syscall.FILE_SHARE_WRITE|shareDelete, syscall.OPEN_EXISTING)
	switch {
	case errors.Is(err, ErrHeld):
		return true, nil
	case err != nil:
		return false, err
	}
	return false, own.Close()
}

const shareDelete = 0x4 // FILE_SHARE_DELETE

func open(path string, share, how uint32) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, share, nil, how, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, errSharingViolation):
		return nil, ErrHeld
	case err != nil:
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}
