package rolebus

import (
	"cmp"
	"hash/maphash"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// table is a hash table that changes without being copied: a change copies the path to one slot, which is some hundred bytes
// long, and shares the rest with the table before. So old and new can both be read, from any goroutine. The zero table is
// empty.
//
// Keys whose hashes end alike share a slot, as a chain. There are at least as many slots as keys, and at the most some times
// as many: a table that has outgrown its slots is built anew, which is the only change that costs as much as the table is
// large.
type table[V any] struct {
	groups []*group[V]
	size   int
	owner  *edition // may change groups in place
}

// A leaf has so many slots, and a group so many leaves.
const (
	leafFan  = 16
	groupFan = 32
	fan      = leafFan * groupFan
)

type group[V any] struct {
	leaves [groupFan]*leaf[V]
	owner  *edition // may change leaves in place
}

type leaf[V any] struct {
	slots [leafFan]*entry[V]
	owner *edition // may change slots in place
}

// entry is a key and its value. It never changes.
type entry[V any] struct {
	key   string
	value V
	hash  uint64
	next  *entry[V]
}

// edition names a draft, so that it copies nothing twice, however many changes it makes.
type edition struct{ _ byte }

// hashOf is maphash.String, or for a short key, as most names and roles are, a multiplication of its bytes by a secret of this
// process, which takes about half of the time. It is the product that wyhash is made of, as Go's own maps do where a
// processor has no AES.
func hashOf(key string) uint64 {
	n := len(key)
	var a, b uint64
	switch {
	case n > 16:
		return maphash.String(tableSeed, key)
	case n >= 8:
		a, b = load64(key), load64(key[n-8:])
	case n >= 4:
		a, b = load32(key), load32(key[n-4:])
	case n > 0:
		a = uint64(key[0])<<16 | uint64(key[n/2])<<8 | uint64(key[n-1])
	}
	return product(product(a^tableSecret[0], b^tableSecret[1])^tableSecret[2], uint64(n)^tableSecret[3])
}

func load64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func load32(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

// product folds the product of two numbers.
func product(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

var (
	tableSeed   = maphash.MakeSeed()
	tableSecret = [4]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()}
)

func (t *table[V]) len() int { return t.size }

// find returns the entry of a key, nil if there is none.
func (t *table[V]) find(key string) *entry[V] {
	if t.size == 0 {
		return nil
	}
	hash := hashOf(key)
	l := t.groups[t.group(hash)].leaves[hash/leafFan%groupFan]
	if l == nil {
		return nil
	}
	return l.slots[hash%leafFan].find(hash, key)
}

// find returns the entry of a key in a chain, nil if there is none.
func (e *entry[V]) find(hash uint64, key string) *entry[V] {
	for e != nil && (e.hash != hash || e.key != key) {
		e = e.next
	}
	return e
}

// group is where a hash belongs. The number of groups is a power of two.
func (t *table[V]) group(hash uint64) uint64 { return hash / fan & uint64(len(t.groups)-1) }

// get returns the value of a key, the zero value if there is none.
func (t *table[V]) get(key string) (value V) {
	if e := t.find(key); e != nil {
		return e.value
	}
	return value
}

// all yields the entries, in no order.
func (t *table[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, g := range t.groups {
			for _, l := range g.leaves {
				if l == nil {
					continue
				}
				for _, e := range l.slots {
					for ; e != nil; e = e.next {
						if !yield(e.key, e.value) {
							return
						}
					}
				}
			}
		}
	}
}

// put sets the value of a key, for the draft that by names.
func (t *table[V]) put(by *edition, key string, value V) { *t.edit(by, key) = value }

// edit returns the value of a key, to be changed; the zero value of one that is new.
func (t *table[V]) edit(by *edition, key string) *V {
	if t.size >= len(t.groups)*fan {
		t.resize(by, max(2*len(t.groups), 1))
	}
	hash := hashOf(key)
	slot := t.own(by, hash)
	e := &entry[V]{key: key, hash: hash, next: *slot}
	if was := e.next.find(hash, key); was != nil {
		e.key, e.value, e.next = was.key, was.value, e.next.without(was)
	} else {
		t.size++
	}
	*slot = e
	return &e.value
}

// reserve makes room for so many keys, so that they can be put without the table growing on the way.
func (t *table[V]) reserve(by *edition, size int) {
	groups := max(len(t.groups), 1)
	for groups*fan < size {
		groups *= 2
	}
	if groups > max(len(t.groups), 1) {
		t.resize(by, groups)
	}
}

// drop takes a key out.
func (t *table[V]) drop(by *edition, key string) {
	was := t.find(key)
	if was == nil {
		return
	}
	slot := t.own(by, was.hash)
	*slot = (*slot).without(was)
	t.size--
	if len(t.groups) > 1 && t.size < len(t.groups)*fan/8 {
		t.resize(by, len(t.groups)/2)
	}
}

// own returns the slot of a hash, to be changed.
func (t *table[V]) own(by *edition, hash uint64) **entry[V] {
	if t.owner != by {
		t.groups, t.owner = slices.Clone(t.groups), by
	}
	g := &t.groups[t.group(hash)]
	if (*g).owner != by {
		*g = &group[V]{leaves: (*g).leaves, owner: by}
	}
	l := &(*g).leaves[hash/leafFan%groupFan]
	switch {
	case *l == nil:
		*l = &leaf[V]{owner: by}
	case (*l).owner != by:
		*l = &leaf[V]{slots: (*l).slots, owner: by}
	}
	return &(*l).slots[hash%leafFan]
}

// without returns a chain without one of its entries. It shares the part behind it.
func (e *entry[V]) without(gone *entry[V]) *entry[V] {
	if e == gone {
		return e.next
	}
	copied := *e
	copied.next = e.next.without(gone)
	return &copied
}

// resize gives the table another number of groups.
func (t *table[V]) resize(by *edition, groups int) {
	old := *t
	t.groups, t.owner = make([]*group[V], groups), by
	for i := range t.groups {
		t.groups[i] = &group[V]{owner: by}
	}
	for _, g := range old.groups {
		for _, l := range g.leaves {
			if l == nil {
				continue
			}
			for _, e := range l.slots {
				for ; e != nil; e = e.next {
					slot := t.own(by, e.hash)
					*slot = &entry[V]{key: e.key, value: e.value, hash: e.hash, next: *slot}
				}
			}
		}
	}
}

// changed yields the keys whose entries two tables do not share, in no order; some more than once, some although their
// values are equal. Of tables of which one came from the other by a few changes it looks at little more than those.
func changed[V any](a, b *table[V]) iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(a.groups) != len(b.groups) {
			for _, t := range []*table[V]{a, b} {
				for key := range t.all() {
					if !yield(key) {
						return
					}
				}
			}
			return
		}
		for i, g := range a.groups {
			if g == b.groups[i] {
				continue
			}
			for j, l := range g.leaves {
				if !l.compare(b.groups[i].leaves[j], yield) {
					return
				}
			}
		}
	}
}

// compare yields the keys whose entries two leaves do not share. It says whether to go on.
func (l *leaf[V]) compare(other *leaf[V], yield func(string) bool) bool {
	if l == other {
		return true
	}
	none := &leaf[V]{}
	a, b := cmp.Or(l, none), cmp.Or(other, none)
	for i, e := range a.slots {
		if f := b.slots[i]; e != f && !(differing(e, f, yield) && differing(f, e, yield)) {
			return false
		}
	}
	return true
}

// differing yields the keys of one chain whose entries another lacks.
func differing[V any](e, other *entry[V], yield func(string) bool) bool {
	for ; e != nil; e = e.next {
		f := other
		for f != nil && f != e {
			f = f.next
		}
		if f == nil && !yield(e.key) {
			return false
		}
	}
	return true
}
