package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus/internal/filelock"
	"github.com/rolebus/rolebus/internal/regular"
)

// Local finds the servers that processes of this user on this machine have announced, and announces one's own: it is an [Announcer]. It is
// libcluster's LocalEpmd, without a daemon: each who announces has a file in a common directory, see [Directory], and holds a lock on it
// while it runs. So who was killed is gone at the next look, whoever has its process id by then, and his file is removed by who
// finds it. The directory is read every [Interval], here 1 s unless given.
//
// Who announces is in his own list, too. When nobody is left, the last list stays, as for every strategy.
//
// All who are to find each other must have the same directory, on a file system of this machine: a container has one of its own unless it is
// mounted. The directory must belong to this user, and nobody else may write to it: else it is not used, which is told, and Announce
// returns it at once as an error. Links, named pipes, directories, other users' files and files of other names in it are told, and left
// alone. At most 16,384 files are read at once, each of up to 64 KiB. Of systems without locks that end with their process, such as Solaris,
// Announce returns an error.
//
// Announce writes its file again if somebody has removed it, as those do who clean temporary directories. The form of the files is in
// docs/DISCOVERY.md.
//
// Options: [Directory], [Interval], [Timeout], [MaxBackoff] (here as [Interval] unless given), and those for all.
func Local(opts ...Option) Strategy {
	o := collect(opts, forPolls, []string{"Directory"})
	o.cheap()
	r := &registry{dir: o.dir, given: o.has("Directory"), every: o.interval}
	if !r.given {
		r.dir = usualDirectory()
	}
	s := made("Local", r.dir, o, o.polling(func(context.Context) []answer { return []answer{r.read()} }))
	s.announce = r.announce
	return announcer{s}
}

// Directory sets where processes announce their servers. For [Local]. It is made, for this user alone, when the first of them announces.
// Default: rolebus in the directory for what runs, $XDG_RUNTIME_DIR, if that is there and this user's; else one of this user in that for
// temporary files. Services and sessions of a user may see different ones: then say which.
func Directory(dir string) Option {
	return choice("Directory", func(o *options) {
		var err error
		switch {
		case dir == "":
			o.wrong("Directory: it is empty")
		case strings.ContainsRune(dir, 0):
			o.wrong("Directory: it has a byte 0 in it")
		default:
			if o.dir, err = filepath.Abs(dir); err != nil {
				o.wrong("Directory %q: %w", dir, err)
			}
		}
	})
}

func usualDirectory() string {
	// Who became another user may still have the variable of the first.
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && ours(info) {
			return filepath.Join(dir, "rolebus")
		}
	}
	return filepath.Join(os.TempDir(), temporaryName())
}

// registry is a directory in which processes announce their servers.
//
//	Create .new, locked -> write -> rename to <pid>-<random>.json -> ... -> remove, unlock
//
// So what has the last name and no lock is of a process that has ended; and as names do not come again, who removes it removes nothing else.
type registry struct {
	dir   string
	given bool
	every time.Duration // whoever announces looks whether that still stands
}

const (
	mostFiles = 1 << 14
	mostEntry = 64 << 10 // bytes
	unready   = ".new"
	stillMade = time.Minute
)

var entryName = regexp.MustCompile(`^[0-9]{1,10}-[0-9a-f]{16}\.json(\.new)?$`)

var (
	errNotDirectory = errors.New("it is no directory")
	errOthers       = errors.New("it belongs to another user")
	errOpen         = errors.New("other users may write to it")
	errLinks        = errors.New("it has several names (hard links)")
	errName         = errors.New("it has another name than those that are written here")
	errEnded        = errors.New("its process has ended")
)

// check says why the directory cannot be used. That it is not there yet is not known here.
func (r *registry) check() error {
	stat := os.Stat
	if !r.given {
		stat = os.Lstat // in a directory for all, a link may be somebody else's
	}
	info, err := stat(r.dir)
	switch {
	case err != nil:
	case !info.IsDir():
		err = errNotDirectory
	case !ours(info):
		err = errOthers
	case openToOthers(info):
		err = errOpen
	default:
		return nil
	}
	f := r.failure(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Reason, f.Mend = ReasonEmpty, "no process of this user has announced a server there: is it the same directory for all?"
	case errors.Is(err, errNotDirectory), errors.Is(err, errOthers):
		f.Mend = "remove it, or give another by the option Directory"
	case errors.Is(err, errOpen):
		f.Mend = "chmod go-w, once nothing in it is of others"
	}
	return f
}

// failure is one of the directory.
func (r *registry) failure(err error) *Failure {
	f := &Failure{Source: "directory " + r.dir, Reason: ReasonOther, Err: err}
	var wrapped *fs.PathError
	if errors.As(err, &wrapped) && wrapped.Path == r.dir {
		f.Err = wrapped.Err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		f.Reason, f.Mend = ReasonForbidden, "it must be this user's own: give one by the option Directory"
	case errors.Is(err, errOthers), errors.Is(err, errOpen):
		f.Reason = ReasonForbidden
	case errors.Is(err, errNotDirectory):
		f.Reason = ReasonMalformed
	case errors.Is(err, errors.ErrUnsupported):
		f.Mend = "locks do not work there: give a directory on a file system of this machine by the option Directory"
	}
	return f
}

// read reads what is announced.
func (r *registry) read() answer {
	if err := r.check(); err != nil {
		return answer{err: err}
	}
	names, more, err := r.names()
	if err != nil {
		return answer{err: r.failure(err)}
	}
	var list []Address
	var lacks, beside []error
	for _, name := range names {
		addresses, err := r.entry(name)
		list = append(list, addresses...)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, errEnded):
		case errors.Is(err, regular.ErrNoFile), errors.Is(err, errOthers), errors.Is(err, errLinks), errors.Is(err, errName):
			beside = append(beside, fmt.Errorf("%s: %w", name, err))
		default:
			lacks = append(lacks, fmt.Errorf("%s: %w", name, err))
		}
	}
	if more {
		lacks = append(lacks, fmt.Errorf("it has more than %d files", mostFiles))
	}
	a := answer{addresses: list}
	if len(beside) > 0 {
		f := r.failure(few(beside))
		f.Mend = "it is left alone, and of no use there: remove it"
		a.beside = f
	}
	switch {
	case len(lacks) > 0:
		f := r.failure(few(lacks))
		if f.Reason == ReasonOther {
			f.Reason = ReasonMalformed
		}
		if f.Mend == "" {
			f.Mend = "a process that runs wrote it: is that of another version? until it is mended, what was found stays"
		}
		a.err = f
	case len(list) == 0:
		a.err = empty("directory "+r.dir, "no process that runs has announced a server there: is it the same directory for all?")
	}
	return a
}

// names returns the names of the files to look at, and whether there are more.
func (r *registry) names() (names []string, more bool, err error) {
	dir, err := os.Open(r.dir)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	names, err = dir.Readdirnames(mostFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	more = len(names) > mostFiles
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasSuffix(name, ".json") && !entryName.MatchString(name)
	})
	slices.Sort(names)
	return names, more, nil
}

// entry reads one file, or removes what a process left that has ended.
func (r *registry) entry(name string) ([]Address, error) {
	path := filepath.Join(r.dir, name)
	info, err := os.Lstat(path)
	if err == nil {
		err = regular.Check(info)
	}
	switch {
	case err != nil:
		return nil, regular.Pathless(err)
	case !ours(info):
		return nil, errOthers
	case linked(info):
		return nil, errLinks
	case !entryName.MatchString(name):
		return nil, errName
	}
	file, _, err := regular.Open(path)
	if err != nil {
		return nil, regular.Pathless(err)
	}
	defer file.Close()
	held, err := filelock.Held(file)
	switch {
	case err != nil:
		return nil, regular.Pathless(err)
	case !held && strings.HasSuffix(name, unready) && time.Since(info.ModTime()) < stillMade:
		return nil, nil // between its making and its lock it has none
	case !held:
		os.Remove(path) // if that fails, it is still of nobody
		return nil, errEnded
	case strings.HasSuffix(name, unready):
		return nil, nil
	}
	text, err := regular.All(file, mostEntry)
	if err != nil {
		return nil, regular.Pathless(err)
	}
	return decodeEntry(text)
}
