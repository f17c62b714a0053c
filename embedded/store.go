package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rolebus/rolebus/internal/filelock"
)

var errInUse = errors.New("in use by another embedded server; each needs its own")

// store is a directory that one server has for itself. nats-server does not lock its store: two of them in one directory
// would both start, and write to the same files.
type store struct {
	dir       string
	temporary bool
	lock      *os.File // closing it gives the lock up; so does the end of the process, however it ends
}

// openStore takes dir, or a new temporary directory if dir is empty.
func openStore(dir string) (*store, error) {
	st := &store{dir: dir}
	var err error
	if dir == "" {
		st.temporary = true
		st.dir, err = os.MkdirTemp("", "rolebus-")
	} else {
		err = os.MkdirAll(dir, 0o750)
	}
	if err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	st.lock, err = filelock.Take(filepath.Join(st.dir, "rolebus.lock"))
	if errors.Is(err, filelock.ErrHeld) {
		err = errInUse
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store directory %s: %w", st.dir, err), st.remove())
	}
	return st, nil
}

func (st *store) close() error {
	err := st.lock.Close() // first, as some systems do not remove an open file
	return errors.Join(err, st.remove())
}

// remove ends a temporary directory, and leaves any other as it is.
func (st *store) remove() error {
	if !st.temporary {
		return nil
	}
	return os.RemoveAll(st.dir)
}
