package reread

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rolebus/rolebus/internal/regular"
)

// File is one of the files that are read together.
type File struct {
	Path string // as Whole has it
	Most int64  // bytes
	// Secret has it told if all users of the machine may read it, except on Windows, where that is not known.
	Secret bool
}

// reading is the files at one moment.
type reading struct {
	texts  []string
	fresh  bool    // one was written just now
	future bool    // one was written later than now
	open   []error // of secrets that anybody may read
}

// Whole is the path from the root, by which a file is told, and which also stands when the process goes to another directory.
func Whole(path string) string {
	if whole, err := filepath.Abs(path); err == nil && path != "" {
		return whole
	}
	return path
}

// read reads all files. They are read, not only looked at: when and how large does not always tell that there is something else in a file.
func read(files []File, now time.Time, quiet time.Duration) (r reading, wrong []error) {
	for _, file := range files {
		text, info, err := regular.Read(file.Path, file.Most)
		if err != nil {
			wrong = append(wrong, explain(file, err))
			continue
		}
		r.texts = append(r.texts, text)
		if age := now.Sub(info.ModTime()); quiet > 0 && age < quiet {
			r.future = r.future || age < 0
			r.fresh = r.fresh || age >= 0
		}
		if file.Secret && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 {
			r.open = append(r.open, Wrong(file.Path, "chmod 600, in Kubernetes defaultMode: 0400 or 0440 with fsGroup", "every user of this machine may read it"))
		}
	}
	return r, wrong
}

// explain makes of an error of the system what somebody can do about it.
func explain(file File, err error) error {
	if file.Path == "" {
		return errors.New("the path of a file is empty: name a file")
	}
	mend := "is the disk well? what was read before stays in use"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err, mend = fs.ErrNotExist, "create it, or name another file"
	case errors.Is(err, fs.ErrPermission):
		mend = "let the user of this process read it, and search its directories"
	case errors.Is(err, regular.ErrNoFile):
		mend = "put a regular file there, or a link to one"
	case errors.Is(err, regular.ErrTooLarge):
		mend = "is it the right file?"
	}
	return Wrong(file.Path, mend, "%w", regular.Pathless(err))
}

// Wrong is an error of this package's manner: the file, what is wrong with it, and what mends that.
func Wrong(path, mend, format string, args ...any) error {
	return fmt.Errorf("file %s: %w (%s)", path, fmt.Errorf(format, args...), mend)
}
