package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// identityFile is where a process keeps what it is to the cluster, beside what its server stores.
const identityFile = "rolebus-cluster.json"

// saved is the form of that file.
type saved struct {
	Version int       `json:"version"`
	Fleet   string    `json:"fleet"`
	Size    int       `json:"size"`
	Name    string    `json:"name"`
	Phase   phase     `json:"phase"`
	Cluster string    `json:"cluster,omitempty"`
	Server  string    `json:"server,omitempty"`
	Life    int       `json:"life,omitempty"`
	Members []contact `json:"members,omitempty"`
	Peers   []string  `json:"peers,omitempty"`
	Ports   ports     `json:"ports"`
}

const savedVersion = 1

// readIdentity reads what a process was, and says why its store cannot be used.
func readIdentity(dir string, cfg *config) (identity, error) {
	id := identity{name: cfg.name, phase: phaseSpare}
	path := filepath.Join(dir, identityFile)
	text, err := os.ReadFile(path)
	stored, storeErr := hasStreams(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if storeErr == nil && stored {
			storeErr = fmt.Errorf("store directory %s: it is that of a server alone: in a cluster its streams would be deleted; take another directory, and "+
				"bring over what is in it with the tools of NATS (nats account backup, nats account restore)", dir)
		}
		if id.name == "" {
			id.name = hostName() + "-" + randomText()[:8]
		}
		return id, storeErr
	case err != nil || storeErr != nil:
		return id, fmt.Errorf("store directory: %w", errors.Join(err, storeErr))
	}
	var s saved
	if err := json.Unmarshal(text, &s); err != nil {
		return id, fmt.Errorf("%s: it is damaged: %w; if the other members are there, empty the directory: it will be filled again", path, err)
	}
	switch {
	case s.Version != savedVersion:
		return id, fmt.Errorf("%s: it has version %d, and known is %d", path, s.Version, savedVersion)
	case s.Fleet != cfg.cluster.fleet:
		return id, fmt.Errorf("%s: it belongs to the fleet %q, and this process was told %q", path, s.Fleet, cfg.cluster.fleet)
	case cfg.name != "" && s.Name != cfg.name:
		return id, fmt.Errorf("%s: it belongs to %q, and this process was told the name %q: give each process its own directory, and the same one again",
			path, s.Name, cfg.name)
	case checkName(s.Name) != nil || s.Server != "" && checkName(s.Server) != nil || s.Cluster != "" && checkName(s.Cluster) != nil ||
		!slices.Contains(phases, s.Phase) || s.Phase != phaseSpare && (s.Cluster == "" || s.Server == ""):
		return id, fmt.Errorf("%s: it is damaged; if the other members are there, empty the directory: it will be filled again", path)
	case s.Cluster != "" && s.Size != cfg.cluster.size:
		return id, fmt.Errorf("size %d: the cluster %s was founded with size %d, which cannot be changed: give WithSize(%d)", cfg.cluster.size, s.Cluster, s.Size, s.Size)
	}
	s.Members = slices.DeleteFunc(s.Members, func(c contact) bool { return !validHost(c.Host) || !validPort(c.Port) })
	if s.Phase == phaseSpare && stored { // it has been emptied, and belongs to nobody since
		return id, fmt.Errorf("store directory %s: there are streams in it that are not of this process's cluster, and would be deleted: take another directory, "+
			"or remove %s in it if nothing of them is needed", dir, jetstreamDir)
	}
	id = identity{name: s.Name, phase: s.Phase, cluster: s.Cluster, server: s.Server, life: s.Life, members: s.Members, peers: s.Peers, ports: s.Ports}
	return id.afterRestart(stored), nil
}

// afterRestart is who a process is that was this one, and whether it found its store.
func (id identity) afterRestart(stored bool) identity {
	id.was = id.phase
	if id.phase != phaseSpare && !stored && id.phase != phaseFounding && id.phase != phaseJoining { // what was stored is lost: it returns under the same name, and empty
		id.phase, id.server = phaseSpare, ""
	}
	return id
}

// writeIdentity replaces the file at once.
func writeIdentity(dir string, fleet string, size int, id identity) error {
	text, err := json.MarshalIndent(saved{
		Version: savedVersion, Fleet: fleet, Size: size, Name: id.name, Phase: id.phase, Cluster: id.cluster, Server: id.server, Life: id.life, Members: id.members, Peers: id.peers, Ports: id.ports,
	}, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, identityFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
		return err
	}
	return syncDir(dir)
}

// syncDir has the names in a directory outlive a loss of power: without, an identity that was replaced could be the one before, beside the store of
// the one after.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // there directories cannot be synced, and need not be
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// clusters says why a server alone cannot have a directory that belongs to a process of a cluster: its streams would be nobody's there, and the cluster's
// would be lost when the process returns.
func clusters(dir string) error {
	_, err := os.Stat(filepath.Join(dir, identityFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("store directory: %w", err)
	}
	return fmt.Errorf("store directory %s: it belongs to a cluster's process: use it with Cluster; for a server alone take another directory, and bring over "+
		"what is needed with the tools of NATS (nats account backup, nats account restore)", dir)
}

// hasStreams says whether a server has stored anything in a directory.
func hasStreams(dir string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(dir, jetstreamDir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

// jetstreamDir is where nats-server keeps what it stores, in its store directory.
const jetstreamDir = "jetstream"

// emptyStore takes away at once all that a server has stored, and then removes it: what a process that died meanwhile would have left is no store,
// and not half of one.
func emptyStore(dir string) error {
	if err := removeEmptied(dir); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, jetstreamDir), filepath.Join(dir, emptiedDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return removeEmptied(dir)
}

// emptiedDir is what a store is called that was emptied, as long as it is not removed.
const emptiedDir = "jetstream-emptied"

func removeEmptied(dir string) error { return os.RemoveAll(filepath.Join(dir, emptiedDir)) }
