//go:build unix

package regular

import "syscall"

// neverBlock keeps a named pipe from blocking whoever opens it.
const neverBlock = syscall.O_NONBLOCK
