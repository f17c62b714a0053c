package children

import "sync"

// Tail keeps the end of what a process writes, 64 KiB of it at least if there is so much. The zero Tail is empty.
type Tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 64 << 10

// Write never fails.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*tailSize {
		t.buf = append([]byte(nil), t.buf[len(t.buf)-tailSize:]...)
	}
	return len(b), nil
}

// String returns what it has.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
