package discovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/rolebus/rolebus/internal/regular"
)

const (
	localInterval = time.Second    // of what lies on this machine, and costs nothing to read
	quietFor      = time.Second    // so long a file has not changed: then whoever writes it has done
	mostOfFile    = 1 << 20        // bytes: more is no list of servers
	byteOrderMark = "\xef\xbb\xbf" // some editors begin UTF-8 with it
	utf16Marks    = "\xff\xfe\xff" // and UTF-16 with two of these, in either order
)

// File lists the addresses in a file, one a line, each as [ParseAddress] takes it, and follows the file as it changes; it is libcluster's
// ErlangHosts. What follows a # is a comment, and so is a line that begins with %; lines may end as those of Windows do, and a line
// may be as in .hosts.erlang: 'host'. in quotes, with a full stop.
//
// A path that is no more than a name is looked for in the directories of [SearchPath]; the first in which there is something of that name
// counts. It is looked for again at each reading: the file may come later, also in an earlier directory. Symbolic links are
// followed, wherever they point to just then, as those of a ConfigMap in Kubernetes.
//
// The file is read every [Interval], here 1 s unless given, and only once more for each change: no notice of the system is needed, which
// many mounts do not give. What is added counts at once. Two things count only when the file has not changed for a second, neither what is in it nor
// when it was written, as it may be half written: what is missing, and a last line that does not end. So a file that is written anew more often
// than that lets nothing go. Write a list beside it and rename that into its place, and it is never seen in part.
//
// As for every strategy nothing goes because of a file that is missing, unreadable or empty, and none because of a list that has a
// line which is no address: that line is told with its number, the others count, and what the list no longer has stays until the line is
// mended. Only regular files of up to 1 MiB are read; other things, such as named pipes, are not even opened.
//
// Options: [SearchPath], [Interval], [Timeout], [MaxBackoff] (here as [Interval] unless given), [Port], [Scheme], [Routes], [Cluster],
// [TLSName], and those for all.
func File(path string, opts ...Option) Strategy {
	o := collect(opts, forPolls, forShape, []string{"SearchPath"})
	o.cheap()
	if o.quiet == 0 {
		o.quiet = quietFor
	}
	named := path != "" && !strings.ContainsFunc(path, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })
	var wrong []error
	switch {
	case path == "":
		wrong = append(wrong, errors.New("the path is empty"))
	case strings.ContainsRune(path, 0):
		wrong = append(wrong, errors.New("the path has a byte 0 in it"))
	case !named && o.has("SearchPath"):
		wrong = append(wrong, fmt.Errorf("SearchPath is for a file's name alone: %q is looked for nowhere else", path))
	}
	var dirs []string
	if named {
		if dirs = o.paths; !o.has("SearchPath") {
			dirs = usualPath()
		}
	}
	return made("File", path, o, func(ctx context.Context, t *teller) error {
		f := &listFile{o: o, path: path, dirs: dirs}
		return o.polling(func(context.Context) []answer { return []answer{f.look(time.Now())} })(ctx, t)
	}, append(wrong, o.shapeErr())...)
}

// SearchPath sets the directories in which a file is looked for, in this order. For [File], of a name without a directory. Default: the
// working directory, directory rolebus in that for the user's configuration (see [os.UserConfigDir]), and /etc/rolebus, of Windows
// %ProgramData%\rolebus.
func SearchPath(dirs ...string) Option {
	return choice("SearchPath", func(o *options) {
		o.paths = dirs
		if len(dirs) == 0 {
			o.wrong("SearchPath: no directories")
		}
		for i, dir := range dirs {
			if dir == "" {
				o.wrong("SearchPath: directory %d is empty: \".\" is the working directory", i+1)
			}
		}
	})
}

func usualPath() []string {
	dirs := []string{"."}
	if dir, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(dir, "rolebus"))
	}
	if runtime.GOOS != "windows" {
		return append(dirs, "/etc/rolebus")
	}
	if dir := os.Getenv("ProgramData"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "rolebus"))
	}
	return dirs
}

// cheap sets what is usual where asking costs next to nothing: often, and as often while it fails.
func (o *options) cheap() {
	if !o.has("Interval") {
		o.interval = localInterval
	}
	if !o.has("MaxBackoff") {
		o.backoff = 0
	}
	o.backoff = max(o.backoff, o.interval)
}

// listFile is a file with addresses, as one call of Discover follows it.
type listFile struct {
	o    *options
	path string
	dirs []string // where it is looked for; nil: nowhere else

	last  *reading
	since time.Time // that the readings have been the same
	said  answer
	quiet bool // of said
}

// reading is the file at one moment.
type reading struct {
	path string
	info fs.FileInfo
	text string
}

func (r *reading) same(other *reading) bool {
	return r != nil && r.path == other.path && os.SameFile(r.info, other.info) &&
		r.info.ModTime().Equal(other.info.ModTime()) && r.text == other.text
}

// look reads the file.
func (f *listFile) look(now time.Time) answer {
	path, err := f.find()
	var r *reading
	if err == nil {
		r, err = readList(path)
	}
	if err != nil {
		f.last = nil
		if f.since.IsZero() {
			f.since = now
		}
		return answer{err: f.explain(path, err)}
	}
	same := f.last.same(r)
	switch {
	case f.since.IsZero():
		// What lies there when it is first looked for has mostly done so for long. Nothing stands yet that could go by mistake.
		if f.since = r.info.ModTime(); f.since.After(now) {
			f.since = now
		}
	case !same:
		f.since = now
	}
	age := now.Sub(f.since)
	quiet := age >= f.o.quiet
	if !same || quiet != f.quiet {
		f.last, f.quiet = r, quiet
		f.said = f.o.lines(path, r.text, quiet)
	}
	said := f.said
	if !quiet {
		said.unfinished, said.again = true, (f.o.quiet-age)*9/8 // of which chance takes a tenth
	}
	return said
}

// find returns where the file is.
func (f *listFile) find() (string, error) {
	for _, dir := range f.dirs {
		path := filepath.Join(dir, f.path)
		if _, err := os.Stat(path); err == nil || !missing(err) {
			return path, err
		}
	}
	if f.dirs != nil {
		return f.path, fs.ErrNotExist
	}
	return f.path, nil
}

// missing says that there is no such file, and not that it cannot be said.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func readList(path string) (*reading, error) {
	text, info, err := regular.Read(path, mostOfFile)
	if err != nil {
		return nil, err
	}
	return &reading{path, info, text}, nil
}

// explain makes of an error of the system what somebody can do about it.
func (f *listFile) explain(path string, err error) error {
	if whole, failed := filepath.Abs(path); failed == nil {
		path = whole
	}
	failure := &Failure{Source: "file " + path, Reason: ReasonOther, Err: regular.Pathless(err)}
	switch {
	case missing(err) && f.dirs != nil:
		failure.Source, failure.Reason, failure.Err = "file "+f.path, ReasonNotFound, fs.ErrNotExist
		failure.Mend = "create it in one of " + strings.Join(f.dirs, ", ") + ", one address a line: it is looked for again and again"
	case missing(err):
		failure.Reason, failure.Err = ReasonNotFound, fs.ErrNotExist
		failure.Mend = "create it, one address a line: it is looked for again and again"
		if strings.HasPrefix(f.path, "~") {
			failure.Mend = "~ means a home only to a shell: give the whole path"
		}
	case errors.Is(err, fs.ErrPermission):
		failure.Reason, failure.Mend = ReasonForbidden, "let the user of this process read it, and search its directories"
	case errors.Is(err, regular.ErrNoFile):
		failure.Reason, failure.Mend = ReasonMalformed, "put a regular file there, or a link to one"
	case errors.Is(err, regular.ErrTooLarge):
		failure.Reason, failure.Mend = ReasonMalformed, "is it the right file? one address a line"
	}
	return failure
}
