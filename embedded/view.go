package embedded

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// view is what a process knows of the others: what each said last, and when. Pure: time is an argument.
type view struct {
	others map[string]*other // by instance
}

// other is another process.
type other struct {
	hello   *hello
	contact contact   // where it is reached
	heard   time.Time // when it said that
	failed  time.Time // when it was asked last and did not answer, after heard; zero if it answered
}

const (
	fresh     = 3 * time.Second // for so long counts what somebody said
	silent    = 10 * time.Minute
	mostKnown = 1024 // processes
)

// hear takes in what another said. Of those of one fleet only; the caller has checked that.
func (v *view) hear(now time.Time, from contact, h *hello) {
	if v.others == nil {
		v.others = map[string]*other{}
	}
	from = reachedAt(from, h)
	if o := v.others[h.Instance]; o != nil {
		// Where it was reached stays while it is: by a name and by an address it is the same process, and its route the same.
		if o.fresh(now) && o.contact.Port == from.Port && (from.TLSName == "" || o.contact.TLSName != "") && (h.Host == "" || o.contact.Host == h.Host) {
			from = o.contact
		}
		*o = other{hello: h, contact: from, heard: now}
		return
	}
	for instance, o := range v.others { // whoever is reached where another was has taken its place
		if o.contact.Host == from.Host && o.contact.Port == from.Port {
			delete(v.others, instance)
		}
	}
	if len(v.others) >= mostKnown {
		v.drop(now)
	}
	if len(v.others) < mostKnown {
		v.others[h.Instance] = &other{hello: h, contact: from, heard: now}
	}
}

// reachedAt is where somebody is reached who was heard from there: of who has asked, the port is that of his connection.
func reachedAt(from contact, h *hello) contact {
	if h.Host != "" {
		from.Host = h.Host
	}
	from.Port = h.Port
	return from
}

// drop makes room: who was heard longest ago goes, if it is gone.
func (v *view) drop(now time.Time) {
	last := ""
	for instance, o := range v.others {
		if !o.fresh(now) && (last == "" || o.heard.Before(v.others[last].heard)) {
			last = instance
		}
	}
	delete(v.others, last)
}

// miss takes in that who is reached there did not answer.
func (v *view) miss(now time.Time, at contact) {
	for _, o := range v.others {
		if o.contact.Host == at.Host && o.contact.Port == at.Port && o.failed.IsZero() {
			o.failed = now
		}
	}
}

// forget lets those go who were not heard for long.
func (v *view) forget(now time.Time) {
	for instance, o := range v.others {
		if now.Sub(o.heard) > silent {
			delete(v.others, instance)
		}
	}
}

// lately returns those who were heard of late, by name.
func (v *view) lately(now time.Time) []*other {
	var list []*other
	for _, o := range v.others {
		if o.fresh(now) {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b *other) int {
		return cmp.Or(strings.Compare(a.hello.Name, b.hello.Name), strings.Compare(a.hello.Instance, b.hello.Instance))
	})
	return list
}

// latest returns all who are known, of each name and server the one that was heard last.
func (v *view) latest() []*other {
	by := map[string]*other{}
	for _, o := range v.others {
		key := o.hello.Name + " " + o.hello.Server
		if was := by[key]; was == nil || o.heard.After(was.heard) {
			by[key] = o
		}
	}
	var list []*other
	for _, key := range sortedKeys(by) {
		list = append(list, by[key])
	}
	return list
}

// fresh says whether what it said counts: somebody who is asked and does not answer is believed for a moment only.
func (o *other) fresh(now time.Time) bool {
	if !o.failed.IsZero() && now.Sub(o.failed) > fresh/3 {
		return false
	}
	return now.Sub(o.heard) <= fresh
}

// server returns who runs the server of this name in a cluster, nil if nobody is known to.
func (v *view) server(cluster, name string) *other {
	var best *other
	for _, o := range v.others {
		if o.hello.Cluster == cluster && o.hello.Server == name && o.hello.Phase != phaseSpare && (best == nil || o.heard.After(best.heard)) {
			best = o
		}
	}
	return best
}
