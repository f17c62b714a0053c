package discovery

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rolebus/rolebus/internal/filelock"
)

// entry is the form of a file in a registry.
type entry struct {
	Version   int            `json:"version"`
	Process   int            `json:"process"` // for people: nothing is concluded from it
	Addresses []entryAddress `json:"addresses"`
}

type entryAddress struct {
	Host     string `json:"host"`
	Port     int    `json:"port,omitempty"`
	Scheme   string `json:"scheme,omitempty"`
	Route    bool   `json:"route,omitempty"`
	Server   string `json:"server,omitempty"`
	Cluster  string `json:"cluster,omitempty"`
	TLSName  string `json:"tls_name,omitempty"`
	Priority uint16 `json:"priority,omitempty"`
	Weight   uint16 `json:"weight,omitempty"`
}

const entryVersion = 1

func encodeEntry(process int, addresses []Address) ([]byte, error) {
	e := entry{Version: entryVersion, Process: process}
	for _, a := range addresses {
		e.Addresses = append(e.Addresses, entryAddress(a))
	}
	text, err := json.MarshalIndent(e, "", "  ")
	return append(text, '\n'), err
}

func decodeEntry(text string) ([]Address, error) {
	var e entry
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, fmt.Errorf("it is not the JSON of an announcement: %w", err)
	}
	if e.Version != entryVersion {
		return nil, fmt.Errorf("it has version %d, and known is %d", e.Version, entryVersion)
	}
	var list []Address
	var wrong []error
	for _, each := range e.Addresses {
		a := Address(each)
		if err := a.Check(); err != nil {
			wrong = append(wrong, err)
			continue
		}
		list = append(list, a)
	}
	switch {
	case len(wrong) > 0:
		return list, few(wrong)
	case len(list) == 0:
		return nil, errors.New("it has no address")
	}
	return list, nil
}

// announce keeps a file with the addresses in the registry until ctx is over.
func (r *registry) announce(ctx context.Context, t *teller, addresses []Address) error {
	text, err := encodeEntry(os.Getpid(), addresses)
	switch {
	case err != nil:
		return err
	case len(text) > mostEntry:
		return fmt.Errorf("discovery: %s: announce: %d addresses are too many: no more than %d KiB", t.name, len(addresses), mostEntry>>10)
	}
	var mine *held
	defer func() { mine.end() }()
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for first := true; ctx.Err() == nil; first = false {
		if mine != nil && !mine.stands() {
			mine.end()
			mine = nil
			t.announced(addresses, r.failure(errors.New("the announcement was removed by somebody: it is written again")))
		}
		if mine == nil {
			mine, err = r.write(text)
			if err != nil && first && (errors.Is(err, errNotDirectory) || errors.Is(err, errOthers) || errors.Is(err, errOpen) ||
				errors.Is(err, errors.ErrUnsupported)) {
				return fmt.Errorf("discovery: %s: announce: %w", t.name, err)
			}
			t.announced(addresses, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// held is an announcement of this process.
type held struct {
	file *os.File
	path string
}

// end takes it back: first it is removed, as what has its name and no lock is taken for one that was left behind.
func (h *held) end() {
	if h == nil {
		return
	}
	if h.stands() {
		os.Remove(h.path)
	}
	h.file.Close()
}

// stands says whether it is still where it was put.
func (h *held) stands() bool {
	there, err := os.Lstat(h.path)
	if err != nil {
		return false
	}
	own, err := h.file.Stat()
	return err == nil && os.SameFile(there, own)
}

// write writes an announcement, again if somebody who looks for what was left behind took it for that before it was locked.
func (r *registry) write(text []byte) (mine *held, err error) {
	for range 3 {
		if mine, err = r.put(text); err == nil {
			return mine, nil
		}
	}
	return nil, err
}

// put writes an announcement under a new name. Nobody sees it before it is whole, and locked.
func (r *registry) put(text []byte) (*held, error) {
	making := os.MkdirAll(r.dir, 0o700)
	err := r.check()
	switch {
	case err != nil && making != nil && ReasonOf(err) == ReasonEmpty:
		return nil, r.failure(making) // that is why it is not there
	case err != nil:
		return nil, err
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	path := filepath.Join(r.dir, fmt.Sprintf("%d-%s.json", os.Getpid(), hex.EncodeToString(random[:])))
	file, err := filelock.Create(path + unready)
	if err != nil {
		return nil, r.failure(err)
	}
	mine := &held{file, path + unready}
	if _, err = file.Write(text); err == nil {
		err = os.Rename(mine.path, path)
	}
	if err != nil {
		mine.end()
		return nil, r.failure(err)
	}
	mine.path = path
	return mine, nil
}
