// Package regular reads files of which nobody knows beforehand what lies there: what is no regular file is not opened, and nothing is read
// without bound.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

var (
	// ErrNoFile is of what lies there and is no regular file: the error says what it is.
	ErrNoFile = errors.New("it is no regular file")
	// ErrTooLarge is of a file that has more bytes than whoever reads it wants.
	ErrTooLarge = errors.New("it is too large")
)

// Open opens a regular file to read it. What is something else is not opened: that could block for ever, as a named pipe, or have
// an effect, as some devices.
func Open(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = Check(info)
	}
	if err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|neverBlock, 0) // it may have become something else by now
	if err != nil {
		return nil, nil, err
	}
	if info, err = file.Stat(); err == nil {
		err = Check(info)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// Check says what else it is, nil if it is a regular file.
func Check(info fs.FileInfo) error {
	kind := "something special"
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "a directory"
	case mode&fs.ModeSymlink != 0:
		kind = "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	}
	return fmt.Errorf("%w but %s", ErrNoFile, kind)
}

// Read returns what is in a regular file of at most that many bytes, and what was known of the file when it was opened.
func Read(path string, most int64) (string, fs.FileInfo, error) {
	file, info, err := Open(path)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	if info.Size() > most {
		return "", nil, tooLarge(most)
	}
	text, err := All(file, most)
	return text, info, err
}

// All reads a file to its end, if it has no more bytes than that.
func All(file io.Reader, most int64) (string, error) {
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err != nil:
		return "", err
	case int64(len(text)) > most:
		return "", tooLarge(most)
	}
	return string(text), nil
}

func tooLarge(most int64) error { return fmt.Errorf("%w: more than %d KiB", ErrTooLarge, most>>10) }

// Pathless is an error of the system without the path, for whoever tells that already.
func Pathless(err error) error {
	var wrapped *fs.PathError
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
