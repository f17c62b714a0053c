package skew

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// clocks is what clockGettime needs: the kernel's function, and the memory that is shared with the parent.
var clocks struct{ kernels, shared uintptr }

func clockGettime()
func clockGettimeAt() uintptr

var _ = clockGettime // nothing written in Go calls it

// Attach makes this process follow the clock that its parent gave to it; without one it does nothing. It is called once, first in
// main.
func Attach() error {
	path := os.Getenv(Variable)
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	raw, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	if err := attach(uintptr(unsafe.Pointer(&raw[0]))); err != nil {
		return fmt.Errorf("follow the clock of the parent: %w", err)
	}
	return nil
}

func attach(memory uintptr) error {
	regions, err := mapped()
	if err != nil {
		return err
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	kernels, err := kernelClock(mem, regions)
	if err != nil {
		return err
	}
	variable, err := holder(mem, regions, kernels)
	if err != nil {
		return err
	}
	clocks.kernels, clocks.shared = uintptr(kernels), memory
	_, err = mem.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(clockGettimeAt())), int64(variable))
	return err
}

// region is a part of this process's memory.
type region struct {
	from, to uint64
	rights   string
	name     string
}

func mapped() ([]region, error) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	var regions []region
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		r := region{rights: fields[1]}
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &r.from, &r.to); err != nil {
			return nil, err
		}
		if len(fields) > 5 {
			r.name = strings.Join(fields[5:], " ")
		}
		regions = append(regions, r)
	}
	return regions, nil
}

func (r region) read(mem *os.File) ([]byte, error) {
	raw := make([]byte, r.to-r.from)
	_, err := mem.ReadAt(raw, int64(r.from))
	return raw, err
}

// kernelClock returns where the kernel's function is that reads a clock.
func kernelClock(mem *os.File, regions []region) (uint64, error) {
	for _, r := range regions {
		if r.name != "[vdso]" {
			continue
		}
		raw, err := r.read(mem)
		if err != nil {
			return 0, err
		}
		library, err := elf.NewFile(bytes.NewReader(raw))
		if err != nil {
			return 0, err
		}
		symbols, err := library.DynamicSymbols()
		if err != nil {
			return 0, err
		}
		for _, s := range symbols {
			if s.Name == "__vdso_clock_gettime" {
				return r.from + s.Value, nil
			}
		}
	}
	return 0, errors.New("the kernel offers no function to read a clock")
}

// holder returns where among this program's own variables a value stands: in exactly one, or it is an error.
func holder(mem *os.File, regions []region, value uint64) (uint64, error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	var found []uint64
	last := uint64(0) // where the program's last region ended: variables that begin as zero follow it, without a name
	for _, r := range regions {
		if r.name != program && (r.name != "" || r.from != last) {
			continue
		}
		last = r.to
		if !strings.HasPrefix(r.rights, "rw") {
			continue
		}
		raw, err := r.read(mem)
		if err != nil {
			return 0, err
		}
		for at := 0; at+8 <= len(raw); at += 8 {
			if binary.LittleEndian.Uint64(raw[at:]) == value {
				found = append(found, r.from+uint64(at))
			}
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("the address of the kernel's function stands in %d variables, not in one", len(found))
	}
	return found[0], nil
}
