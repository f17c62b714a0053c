package kubernetes_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
)

// Whatever comes in the place of a list takes nothing away, is told with its reason and what to do, and is over as soon as its cause is.
func TestAListThatIsNone(t *testing.T) {
	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "10000")
		w.Write([]byte(`{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","items":[`))
	}
	slow := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	slowly := func(w http.ResponseWriter, r *http.Request) { // the headers come, and the body does not
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	hangUp := func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }
	const list = `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"7"},"items":`
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		reason discovery.Reason
		parts  []string
	}{
		"no JSON":         {says(200, "<html>welcome</html>"), discovery.ReasonMalformed, []string{"is it an API server"}},
		"HTML":            {says(200, "<html>welcome</html>", "Content-Type", "text/html"), discovery.ReasonMalformed, []string{"is it an API server"}},
		"nothing":         {says(200, ""), discovery.ReasonMalformed, []string{"is it an API server"}},
		"null":            {says(200, "null"), discovery.ReasonMalformed, nil},
		"an object":       {says(200, "{}"), discovery.ReasonMalformed, nil},
		"half":            {half, discovery.ReasonMalformed, nil},
		"half of JSON":    {says(200, list+`[{"endpoints`), discovery.ReasonMalformed, nil},
		"other types":     {says(200, list+`"none"}`), discovery.ReasonMalformed, nil},
		"another list":    {says(200, `{"kind":"PodList","apiVersion":"v1","items":[]}`), discovery.ReasonMalformed, []string{"PodList"}},
		"no list":         {says(200, `{"kind":"Pod","apiVersion":"v1"}`), discovery.ReasonMalformed, []string{"Pod"}},
		"another version": {says(200, `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v7","items":[]}`), discovery.ReasonMalformed, []string{"v7"}},
		"a good status":   {says(200, `{"kind":"Status","apiVersion":"v1","status":"Success"}`), discovery.ReasonMalformed, nil},
		"a bad status":    {says(200, status(403, "Forbidden", "no")), discovery.ReasonForbidden, nil},
		"empty":           {says(200, list+`[]}`), discovery.ReasonEmpty, []string{"there are none", "service-name=nats", "fleet"}},
		"no endpoints":    {has(t, sliceOf()), discovery.ReasonEmpty, []string{"no endpoints"}},
		"a part":          {says(200, strings.Replace(list, `"7"`, `"7","continue":"x"`, 1)+`[]}`), discovery.ReasonMalformed, []string{"a part of the list"}},
		"a long message":  {says(500, status(500, "InternalError", strings.Repeat("x", 100_000))), discovery.ReasonUnavailable, []string{"xxx..."}},
		"401":             {says(401, status(401, "Unauthorized", "Unauthorized")), discovery.ReasonUnauthorized, []string{"the token"}},
		"403":             {says(403, status(403, "Forbidden", `User "jane" cannot list`)), discovery.ReasonForbidden, []string{"name: jane}", "kind: User"}},
		"403 of others":   {says(403, "go away"), discovery.ReasonForbidden, []string{"needs this rule"}},
		"anonymous":       {says(403, status(403, "Forbidden", `User "system:anonymous" cannot list`)), discovery.ReasonForbidden, []string{"no token was sent"}},
		"404":             {says(404, "404 page not found"), discovery.ReasonOther, []string{"1.21"}},
		"410":             {says(410, status(410, "Expired", "too old")), discovery.ReasonGone, nil},
		"429":             {says(429, status(429, "TooManyRequests", "later")), discovery.ReasonThrottled, []string{"much to do"}},
		"500":             {says(500, "oops"), discovery.ReasonUnavailable, nil},
		"503":             {says(503, status(503, "ServiceUnavailable", "later")), discovery.ReasonUnavailable, nil},
		"504":             {says(504, status(504, "Timeout", "late")), discovery.ReasonTimeout, nil},
		"a redirect":      {says(302, "", "Location", "https://example.com/"), discovery.ReasonOther, []string{"redirects"}},
		"slow":            {slow, discovery.ReasonTimeout, []string{"500ms"}},
		"slow in between": {slowly, discovery.ReasonTimeout, []string{"500ms", "discovery.Timeout"}},
		"it hangs up":     {hangUp, discovery.ReasonUnavailable, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.answer(nil, says(403, "no watch")) // it lists, again and again
			h := follow(t, kubernetes.Service("nats", f.with()...))
			h.hosts("10.1.0.1:4222")
			f.answer(c.answer, nil)
			h.failure(c.reason, c.parts...)
			require.Equal(t, []string{"10.1.0.1:4222"}, h.now())
			f.answer(lists(t, "10.1.0.2"), nil)
			h.hosts("10.1.0.2:4222")
		})
	}
}

// A watch that is none ends in lists; whatever came of it before stays, and it is tried again.
func TestAWatchThatIsNone(t *testing.T) {
	other := map[string]any{"kind": "Pod", "apiVersion": "v1"}
	added := sliceOf("10.1.0.2")
	added.Name = "nats-b"
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		reason discovery.Reason // "": nothing is told
		parts  []string
	}{
		"no JSON":         {says(200, "<html>welcome</html>"), discovery.ReasonMalformed, []string{"unable to decode"}},
		"no event":        {events(false, `{"type":"NEWS"}`), discovery.ReasonMalformed, nil},
		"null":            {events(false, `null`), discovery.ReasonMalformed, nil},
		"another object":  {events(false, event(t, "ADDED", other)), discovery.ReasonMalformed, []string{"Pod"}},
		"an odd error":    {events(false, event(t, "ERROR", other)), discovery.ReasonMalformed, []string{"Pod"}},
		"half an event":   {events(true, event(t, "ADDED", added), `{"type":"ADDED","object":{"kin`), "", nil},
		"expired":         {events(false, event(t, "ADDED", added), `{"type":"ERROR","object":`+status(410, "Expired", "too old")+`}`), discovery.ReasonGone, []string{"too old", "listed again"}},
		"expired at once": {says(410, status(410, "Expired", "too old")), discovery.ReasonGone, nil},
		"gone":            {events(false, `{"type":"ERROR","object":`+status(410, "Gone", "too old")+`}`), discovery.ReasonGone, nil},
		"an error":        {events(false, `{"type":"ERROR","object":`+status(500, "InternalError", "oops")+`}`), discovery.ReasonUnavailable, []string{"oops", "listed at each interval"}},
		"401":             {says(401, status(401, "Unauthorized", "Unauthorized")), discovery.ReasonUnauthorized, nil},
		"403":             {says(403, status(403, "Forbidden", `User "system:serviceaccount:fleet:bus" cannot watch`)), discovery.ReasonForbidden, []string{"{kind: ServiceAccount, namespace: fleet, name: bus}"}},
		"404":             {says(404, "404 page not found"), discovery.ReasonOther, nil},
		"429":             {says(429, status(429, "TooManyRequests", "later")), discovery.ReasonThrottled, nil},
		"501":             {says(501, "not here"), discovery.ReasonUnavailable, nil},
		"no answer":       {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, discovery.ReasonTimeout, []string{"500ms"}},
		"ends at once":    {events(true), "", nil},
		"it hangs up":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.answer(nil, c.answer)
			h := follow(t, kubernetes.Service("nats", f.with()...))
			if c.reason != "" {
				h.failure(c.reason, c.parts...)
			}
			eventually(t, "the watch again", func() bool { return f.count("watch") > 2 })
			f.answer(lists(t, "10.1.0.1", "10.1.0.3"), nil)
			eventually(t, "what the list has", func() bool { return len(h.now()) >= 2 && h.now()[len(h.now())-1] == "10.1.0.3:4222" })
			if c.reason != "" && c.reason != discovery.ReasonGone {
				require.LessOrEqual(t, len(h.failures()), 2, h.failures()) // once, not at each try
			}
			f.answer(lists(t, "10.1.0.1"), nil)
			// Before a watch that goes well, as there is no list after that.
			eventually(t, "the list", func() bool { return !slices.Contains(h.now(), "10.1.0.3:4222") })
			f.answer(nil, events(false, event(t, "ADDED", added), `{"type":"BOOKMARK","object":{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1"}}`))
			h.hosts("10.1.0.1:4222", "10.1.0.2:4222")
		})
	}
}

// Watches that end at once, as behind a proxy that knows no streams, cost no more lists than an interval has.
func TestAWatchThatEndsAtOnceCostsNoMoreThanLists(t *testing.T) {
	f := newFake(t)
	f.answer(nil, events(true))
	began := time.Now()
	h := follow(t, kubernetes.Service("nats", f.with(kubernetes.Discovery(discovery.Interval(50*time.Millisecond)))...))
	h.hosts("10.1.0.1:4222")
	eventually(t, "watches", func() bool { return f.count("watch") >= 20 })
	require.LessOrEqual(t, float64(f.count("list")), 2+time.Since(began).Seconds()/0.045)
	require.Empty(t, h.failures())
}

// What was told once is told again after it was over.
func TestARefusalThatComesAgainIsToldAgain(t *testing.T) {
	f := newFake(t)
	f.answer(nil, says(403, "no watch"))
	h := follow(t, kubernetes.Service("nats", f.with()...))
	h.failure(discovery.ReasonForbidden)
	f.answer(nil, events(true)) // watches go well, though nothing happens
	watches := f.count("watch")
	eventually(t, "watches", func() bool { return f.count("watch") > watches+2 })
	h.forget()
	f.answer(nil, says(403, "no watch"))
	h.failure(discovery.ReasonForbidden)
}
