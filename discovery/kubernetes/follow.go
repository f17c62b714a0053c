package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/rolebus/rolebus/discovery"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// errBroken says that the connection of a watch is lost.
var errBroken = errors.New("the connection was lost")

// follower follows one kind of object for one call of Discover.
//
//	connect -> list -> watch -> ended, or expired: list again soon
//	   ^         |        \--- refused, or broken: list each interval, watch again after a while
//	   \---------/ failed: again after a while; with new connections unless it was the API server that said no
type follower struct {
	of       *resource
	o        *options
	w        *discovery.Watching
	selector string

	c         *client
	namespace string          // as c has it, or the last one had
	items     map[string]item // by name
	told      map[string]bool // problems in the last readings

	failures int // of lists, in a row
	expired  bool

	refusals   int       // of watches, in a row
	refusal    string    // what was told of them
	watchAgain time.Time // not before
}

const (
	// Watches end by themselves, and then there is a new list, so that whatever went wrong unseen is over after some minutes.
	shortestWatch = 2 * time.Minute
	longestWatch  = 4 * time.Minute
	// After a watch has ended those of a fleet, which all had theirs with a server that went down, do not list all at the same moment.
	longestRush = time.Second
)

func (f *follower) follow(ctx context.Context) error {
	ctx = klog.NewContext(ctx, logr.Discard()) // client-go writes to standard error otherwise
	defer f.drop()
	for ctx.Err() == nil {
		wait := f.round(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return ctx.Err()
}

// round lists, and watches for as long as that goes well. It returns when to do so again.
func (f *follower) round(ctx context.Context) time.Duration {
	began := time.Now()
	version, err := f.list(ctx)
	n := len(f.addresses())
	if ctx.Err() != nil {
		return 0
	}
	f.w.LookedUp(time.Since(began), n, err)
	if err != nil {
		f.failures++
		f.w.Fail(err)
		f.told, f.refusal = nil, "" // once this is over, they are told again
		return max(f.w.Backoff(f.failures), asked(err))
	}
	f.failures = 0
	f.tell()
	if f.o.listsOnly || time.Now().Before(f.watchAgain) {
		return f.w.Backoff(0)
	}
	began = time.Now()
	err = f.watch(ctx, version)
	lived := time.Since(began)
	switch {
	case ctx.Err() != nil:
		return 0
	case err == nil:
		f.refusals, f.refusal, f.expired = 0, "", false
		return max(rush(f.w.Interval()), f.w.Backoff(0)-lived) // never more often than who polls
	case discovery.ReasonOf(err) == discovery.ReasonGone && !f.expired:
		f.expired = true
		f.w.Fail(err)
		return max(rush(f.w.Interval()), f.w.Backoff(0)-lived)
	}
	f.refusals++
	f.watchAgain = time.Now().Add(max(f.w.Backoff(f.refusals), asked(err)))
	if f.refusal != err.Error() { // once: lists go well meanwhile
		f.refusal = err.Error()
		f.w.Fail(err)
	}
	return f.w.Backoff(0)
}

// rush is a short while by chance.
func rush(most time.Duration) time.Duration { return rand.N(min(longestRush, most) + 1) }

// drop ends the connections. The next request makes new ones, with what the files of the service account hold by then.
func (f *follower) drop() {
	if f.c != nil {
		f.c.close()
		f.c = nil
	}
}

// list learns all objects, and at which version of the store they are.
func (f *follower) list(ctx context.Context) (version string, err error) {
	if f.c == nil {
		if f.c, err = f.o.connect(f.of, f.w.Timeout()); err != nil {
			return "", err
		}
		f.namespace = f.c.namespace
	}
	source := f.source("list")
	for attempt := 1; ; attempt++ {
		within, cancel := context.WithTimeout(ctx, f.w.Timeout())
		request := f.request()
		if f.o.cached && !f.expired {
			request.Param("resourceVersion", "0")
		}
		object, failure := request.Do(within).Get()
		late := within.Err() != nil
		cancel()
		if failure == nil {
			items, version, ok := f.of.open(object)
			if !ok {
				return "", f.strange(source, fmt.Sprintf("a %T came", object))
			}
			if page, err := meta.ListAccessor(object); err == nil && page.GetContinue() != "" {
				return "", f.strange(source, "a part of the list came, where all of it was asked for")
			}
			f.items = map[string]item{}
			for _, each := range items {
				f.keep(each)
			}
			return version, nil
		}
		problem := f.explain(source, "list", failure, late)
		if problem.Reason == discovery.ReasonUnauthorized && attempt == 1 {
			continue // the token may have been replaced between reading and using it
		}
		if !said(failure) {
			f.drop()
		}
		return "", problem
	}
}

func (f *follower) request() *rest.Request {
	return f.c.rest.Get().MaxRetries(0).Namespace(f.c.namespace).Resource(f.of.plural).Param("labelSelector", f.selector)
}

func (f *follower) source(verb string) string {
	return fmt.Sprintf("%s %s %q in namespace %s", verb, f.of.plural, f.selector, f.namespace)
}

// keep reads an object that is new, or has changed.
func (f *follower) keep(each item) {
	each.reading = each.read(f.o, f.w.Shape())
	each.read = nil // and with it the object
	f.items[each.name] = each
}

// watch follows what changes after a version. Without an error it has just ended.
func (f *follower) watch(ctx context.Context, version string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	source := f.source("watch")
	lasts := shortestWatch + rand.N(longestWatch-shortestWatch)
	// Until the server has begun to answer it has the time of any request; then until the end that it was told, and as long again as a
	// request may take.
	late := time.AfterFunc(f.w.Timeout(), func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	stream, err := f.request().Param("watch", "true").Param("resourceVersion", version).
		Param("timeoutSeconds", strconv.Itoa(int(lasts.Seconds()))).Watch(ctx)
	if err != nil {
		problem := f.explain(source, "watch", err, errors.Is(context.Cause(ctx), context.DeadlineExceeded))
		if !said(err) {
			f.drop()
		}
		return problem
	}
	defer func() {
		stream.Stop()
		for range stream.ResultChan() { // until its goroutine has ended
		}
	}()
	late.Reset(lasts + f.w.Timeout())
	for {
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				f.drop()
				return f.explain(source, "watch", context.DeadlineExceeded, true)
			}
			return ctx.Err()
		case event, ok := <-stream.ResultChan():
			if !ok {
				return nil
			}
			if err := f.change(source, event); err == errBroken {
				f.drop()
				return nil // the next list tells how things are
			} else if err != nil {
				return err
			}
		}
	}
}

// change takes in one event of a watch.
func (f *follower) change(source string, event watch.Event) error {
	if event.Type == watch.Error {
		if broken(event.Object) {
			return errBroken
		}
		return f.ended(source, event.Object)
	}
	each, ok := f.of.one(event.Object)
	switch {
	case !ok:
		return f.strange(source, fmt.Sprintf("a %T came", event.Object))
	case event.Type == watch.Added, event.Type == watch.Modified:
		f.keep(each)
	case event.Type == watch.Deleted:
		delete(f.items, each.name)
	default:
		return nil
	}
	// It lives: this is what tells, rather than that it began.
	f.refusals, f.refusal, f.expired = 0, "", false
	f.tell()
	return nil
}

// addresses are those of all objects. An endpoint may stand in several slices, as while it moves from one to another.
func (f *follower) addresses() (all []discovery.Address) {
	seen := map[discovery.Address]bool{}
	for _, name := range slices.Sorted(maps.Keys(f.items)) {
		for _, a := range f.items[name].reading.addresses {
			if !seen[a] {
				seen[a] = true
				all = append(all, a)
			}
		}
	}
	return all
}

// tell tells what there is by now, and what is wrong with it that was not before.
func (f *follower) tell() {
	problems, still := map[string]bool{}, f.refusal != ""
	var news []string
	for _, name := range slices.Sorted(maps.Keys(f.items)) {
		for _, text := range f.items[name].reading.problems {
			if f.told[text] {
				still = true
			} else if !problems[text] {
				news = append(news, text)
			}
			problems[text] = true
		}
	}
	switch addresses := f.addresses(); {
	case len(addresses) == 0:
		f.w.Fail(f.nothing())
	case still:
		f.w.ListBeside(addresses)
	default:
		f.w.List(addresses)
	}
	for _, text := range news {
		f.w.Fail(&discovery.Failure{Source: f.source("list"), Reason: discovery.ReasonMalformed, Err: errors.New(text)})
	}
	f.told = problems
}

// nothing says why no address is there.
func (f *follower) nothing() *discovery.Failure {
	var all, notReady, ending int
	for _, each := range f.items {
		all += each.reading.all
		notReady += each.reading.notReady
		ending += each.reading.ending
	}
	failure := &discovery.Failure{Source: f.source("list"), Reason: discovery.ReasonEmpty}
	what := "endpoints"
	if f.of == pods {
		what = "pods"
	}
	switch {
	case len(f.items) == 0:
		failure.Err = fmt.Errorf("there are none")
		failure.Mend = "is the namespace right, and the name or the selector?"
	case all == 0:
		failure.Err = fmt.Errorf("they have no %s", what)
		failure.Mend = "does the selector of the service match pods that run, and kubernetes.Family their addresses?"
	default:
		failure.Err = fmt.Errorf("of %d %s %d are not ready, %d terminate or have ended, %d cannot be used", all, what, notReady, ending, all-notReady-ending)
		if notReady > 0 {
			failure.Mend = "wait for them; servers that find each other want kubernetes.NotReady"
		}
	}
	return failure
}
