// Package filelock says by files which processes live: a lock on a file ends with the process that holds it, however that ends.
// Ids of processes cannot say it: they are used again.
package filelock

import "errors"

// ErrHeld says that another one holds the file.
var ErrHeld = errors.New("another one holds it")
