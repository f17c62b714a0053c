//go:build unix

package discovery

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ours says whether this user owns it.
func ours(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// openToOthers says whether other users may write to it.
func openToOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

// linked says whether a file has more names than one, so that it may be something else, too.
func linked(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink > 1
}

func temporaryName() string { return fmt.Sprintf("rolebus-%d", os.Geteuid()) }
