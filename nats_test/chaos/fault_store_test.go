//go:build linux

package chaos_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// storeFaults happen to what servers have on their disks: lost, damaged, or older than it was.
var storeFaults = []*faultKind{
	{name: "lose-disk", class: "store", about: theServer, weight: 3, min: 300 * time.Millisecond, max: 4 * time.Second, begin: damage(loseDisk, 1)},
	{name: "flip-bits", class: "store", about: theServer, weight: 3, min: 300 * time.Millisecond, max: 4 * time.Second, begin: damage(flipBits, 1)},
	{name: "truncate", class: "store", about: theServer, weight: 3, min: 300 * time.Millisecond, max: 4 * time.Second, begin: damage(truncateFiles, 1)},
	{name: "power-one", class: "store", about: theServer, weight: 3, min: 2 * time.Second, max: 4 * time.Second, begin: rollback(1, true)},
	{name: "power-all", class: "store", about: theServer, weight: 3, min: 2 * time.Second, max: 5 * time.Second, begin: rollback(3, true)},
	{name: "older-one", class: "store", about: theServer, weight: 7, min: 4 * time.Second, max: 8 * time.Second, begin: rollback(1, false)},
	{name: "older-all", class: "store", about: theServer, weight: 7, min: 4 * time.Second, max: 8 * time.Second, begin: rollback(3, false)},
}

// damage kills some servers, damages their stores, and starts them again at the end.
func damage(how func(dir string, rng *rand.Rand) error, many int) func(*fleet, planned, *rand.Rand) (effect, func() error, error) {
	return func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		f.foreign.endanger()
		first := f.struck(p, rng)
		var errs []error
		var struck []*serverSeat
		for i := range many {
			s := f.servers[(first+i)%len(f.servers)]
			s.kill()
			errs = append(errs, how(filepath.Join(s.cfg.Dir, "jetstream"), rng))
			struck = append(struck, s)
		}
		return effect{servers: true}, func() error {
			for _, s := range struck {
				f.tryStart(s)
			}
			return nil
		}, errors.Join(errs...)
	}
}

// tryStart starts a server whose store may be too bad for it: then the guard sees to it.
func (f *fleet) tryStart(s *serverSeat) {
	if err := s.start(); err != nil {
		f.note("%s does not start: %v", s.cfg.Name, err)
	}
}

func loseDisk(dir string, _ *rand.Rand) error { return os.RemoveAll(dir) }

// flipBits flips a few bits in some of the files of messages and of snapshots.
func flipBits(dir string, rng *rand.Rand) error {
	return someFiles(dir, rng, func(path string, content []byte) error {
		for range 1 + rng.IntN(4) {
			content[rng.IntN(len(content))] ^= 1 << rng.IntN(8)
		}
		return os.WriteFile(path, content, 0o600)
	})
}

// truncateFiles takes the end off some files.
func truncateFiles(dir string, rng *rand.Rand) error {
	return someFiles(dir, rng, func(path string, content []byte) error {
		return os.Truncate(path, int64(rng.IntN(len(content))))
	})
}

// someFiles visits about half of the files that hold messages, their index, or snapshots.
func someFiles(dir string, rng *rand.Rand, visit func(path string, content []byte) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir():
			return err
		case !strings.HasSuffix(path, ".blk") && !strings.HasSuffix(path, "index.db") && !strings.Contains(path, "snapshots"):
			return nil
		case rng.IntN(2) == 0:
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil || len(content) == 0 {
			return err
		}
		return visit(path, content)
	})
}

// rollback puts servers' stores back to a copy. With a power failure the copy was made a moment before: what was not on
// the disk yet is lost. Otherwise it is older by the length of the fault, and the servers were well meanwhile.
func rollback(many int, power bool) func(*fleet, planned, *rand.Rand) (effect, func() error, error) {
	return func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		f.foreign.endanger()
		var struck []*serverSeat
		for i := range many {
			struck = append(struck, f.servers[(p.place+i)%len(f.servers)])
		}
		var copies sync.WaitGroup
		for _, s := range struck {
			copies.Go(func() { copyStore(s) })
		}
		copies.Wait()
		back := func() error {
			var errs []error
			for _, s := range struck {
				s.kill()
			}
			for _, s := range struck {
				errs = append(errs, restoreStore(s))
			}
			return errors.Join(errs...)
		}
		if power {
			<-time.After(rand64(rng, time.Second))
			if err := back(); err != nil {
				return effect{}, nil, err
			}
			back = func() error { return nil }
		}
		return effect{servers: true}, func() error {
			err := back()
			var starts sync.WaitGroup
			for _, s := range struck {
				starts.Go(func() { f.tryStart(s) })
			}
			starts.Wait()
			return err
		}, nil
	}
}

func storeAndCopy(s *serverSeat) (store, aside string) {
	return filepath.Join(s.cfg.Dir, "jetstream"), filepath.Join(s.cfg.Dir, "copy")
}

// copyStore copies a store while its server writes to it: files that come or go meanwhile are as a disk that loses
// its power may have them.
func copyStore(s *serverSeat) {
	store, aside := storeAndCopy(s)
	_ = os.RemoveAll(aside)
	_ = filepath.WalkDir(store, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		to := filepath.Join(aside, strings.TrimPrefix(path, store))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		return os.WriteFile(to, content, 0o600)
	})
}

func restoreStore(s *serverSeat) error {
	store, aside := storeAndCopy(s)
	if err := os.RemoveAll(store); err != nil {
		return err
	}
	if err := os.Rename(aside, store); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // the store was empty when it was copied
}
