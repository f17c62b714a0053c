package discovery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

var (
	errNoFile   = errors.New("it is no regular file")
	errTooLarge = errors.New("it is too large")
)

// openRegular opens a regular file to read it. What is something else is not opened: that could block for ever, as a named pipe, or have
// an effect, as some devices.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|neverBlock, 0) // it may have become something else by now
	if err != nil {
		return nil, nil, err
	}
	if info, err = file.Stat(); err == nil {
		err = regular(info)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// regular says what else it is, nil if it is a regular file.
func regular(info fs.FileInfo) error {
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
	return fmt.Errorf("%w but %s", errNoFile, kind)
}

// readMost reads a file to its end, if it has no more bytes than that.
func readMost(file io.Reader, most int64) (string, error) {
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err != nil:
		return "", err
	case int64(len(text)) > most:
		return "", tooLarge(most)
	}
	return string(text), nil
}

func tooLarge(most int64) error { return fmt.Errorf("%w: more than %d KiB", errTooLarge, most>>10) }

// pathless is an error of the system without the path, which is told already.
func pathless(err error) error {
	var wrapped *fs.PathError
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
