package discovery

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	mostOfAnswer  = 4 << 20 // bytes
	mostRedirects = 10
)

var errRedirects = fmt.Errorf("it redirected %d times", mostRedirects)

// GetJSON asks an HTTP server, decodes the JSON that it answers into what into points to, which should be new, and returns the header of
// the answer, nil if there was none. It is for strategies of your own, for [Poll] and [Watch]: it makes a [Failure] of everything else, which
// says what was asked, without its query, user and password, of which kind the failure is, and what somebody can do:
//
//   - a status that is not one of success: [ReasonOfStatus]; with the header Retry-After, in seconds or as a date, its RetryAfter is set
//   - an answer that is no JSON, such as a page to sign in; JSON of another form; nothing; more than 4 MiB: [ReasonMalformed]
//   - ctx is over before all of the answer has come: [ReasonTimeout]; if it was cancelled, the error is context.Canceled
//   - nobody answers, or the answer breaks off: [ReasonUnavailable]
//
// A redirect is followed on the same host, up to 10 times, and not from https to http. One to another host is a failure that names it: what is in
// header, such as a token, is for the first. If header has no Accept, JSON is asked for. header and client are not changed; a nil
// client is [http.DefaultClient]. The connections that a client keeps are its own affair.
func GetJSON(ctx context.Context, client *http.Client, from string, header http.Header, into any) (http.Header, error) {
	f := &Failure{Source: "GET " + withoutSecrets(from)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil || req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Host == "" {
		f.Reason, f.Mend, f.Err = ReasonMalformed, "give one as https://host:port/path", errors.New("it is not the URL of an HTTP server")
		return nil, f
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	res, err := careful(client).Do(req)
	if err != nil {
		return nil, f.unanswered(ctx, err)
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return res.Header, f.status(res)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, mostOfAnswer+1))
	if err != nil {
		return res.Header, f.unanswered(ctx, fmt.Errorf("the answer broke off: %w", err))
	}
	f.Reason = ReasonMalformed
	switch page := bytes.TrimSpace(body); {
	case len(body) > mostOfAnswer:
		f.Err, f.Mend = fmt.Errorf("the answer has more than %d MiB", mostOfAnswer>>20), "is the URL right?"
	case len(page) == 0:
		f.Err, f.Mend = fmt.Errorf("the answer (status %d) is empty", res.StatusCode), "is the URL right?"
	case page[0] == '<':
		f.Err = errors.New("the answer is a page of HTML or XML, and no JSON")
		f.Mend = "is the URL right, and does no proxy, and no page to sign in, stand between?"
	default:
		if err := json.Unmarshal(body, into); err == nil {
			return res.Header, nil
		} else if wrong := (*json.InvalidUnmarshalError)(nil); errors.As(err, &wrong) {
			f.Err, f.Mend = err, "give GetJSON a pointer"
		} else {
			f.Err, f.Mend = fmt.Errorf("the answer is no JSON of the form that it should have: %w", err), "is the URL right?"
		}
	}
	if asked := res.Request.URL; asked.Path != req.URL.Path {
		f.Err = fmt.Errorf("%w (it came from %s, after a redirect)", f.Err, withoutSecrets(asked.String()))
	}
	return res.Header, f
}

// careful is the client, which takes what is in the header of a request to no other host.
func careful(client *http.Client) *http.Client {
	if client == nil {
		client = http.DefaultClient
	}
	c := *client
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		first := via[0].URL
		switch {
		case req.URL.Host != first.Host || first.Scheme == "https" && req.URL.Scheme != "https":
			return http.ErrUseLastResponse
		case client.CheckRedirect != nil:
			return client.CheckRedirect(req, via)
		case len(via) >= mostRedirects:
			return errRedirects
		}
		return nil
	}
	return &c
}

// withoutSecrets is a URL without what may be one.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "a URL that is none"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// status says what a status means that is not one of success.
func (f *Failure) status(res *http.Response) error {
	f.Reason, f.Err = ReasonOfStatus(res.StatusCode), fmt.Errorf("status %d", res.StatusCode)
	if text := http.StatusText(res.StatusCode); text != "" {
		f.Err = fmt.Errorf("status %d %s", res.StatusCode, text)
	}
	f.RetryAfter = retryAfter(res.Header, time.Now())
	to, _ := res.Location()
	switch status := res.StatusCode; {
	case status < 400 && to != nil:
		f.Err = fmt.Errorf("%w: it redirects to %s, which is not followed", f.Err, withoutSecrets(to.String()))
		f.Mend = "give that URL; or is it a page to sign in?"
	case f.Reason == ReasonUnauthorized:
		f.Mend = "it wants credentials, or others"
	case f.Reason == ReasonForbidden:
		f.Mend = "the credentials do not give the right to it"
	case f.Reason == ReasonNotFound, f.Reason == ReasonGone:
		f.Mend = "nothing is there: is the URL right?"
	case f.Reason == ReasonThrottled:
		f.Mend = "it is asked too often: raise Interval"
	case f.Reason == ReasonTimeout:
		f.Mend = "whom it asks did not answer in time: see the server's log"
	case f.Reason == ReasonUnavailable:
		f.Mend = "see the server's log"
	default:
		f.Mend = "is the URL right?"
	}
	return f
}

// retryAfter is how long a server wants not to be asked, 0 if it does not say.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// unanswered says why there is no answer.
func (f *Failure) unanswered(ctx context.Context, err error) error {
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err // the URL is told already, without what is secret
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var timeout interface{ Timeout() bool }
	var untrusted *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	f.Reason, f.Err = ReasonUnavailable, err
	switch {
	case ctx.Err() != nil:
		f.Reason, f.Err, f.Mend = ReasonTimeout, fmt.Errorf("not all of the answer came in time: %w", context.DeadlineExceeded), "is the server slow, or out of reach? or raise Timeout"
	case errors.As(err, &timeout) && timeout.Timeout():
		f.Reason, f.Mend = ReasonTimeout, "is the server slow, or out of reach?"
	case errors.Is(err, errRedirects):
		f.Reason, f.Mend = ReasonOther, "is the URL right?"
	case errors.As(err, &untrusted):
		f.Reason, f.Mend = ReasonOther, "give a client that trusts who issued it, or the name that it is for"
	case errors.As(err, &noTLS), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		f.Reason, f.Mend = ReasonMalformed, "http in place of https, or another port"
	default:
		f.Mend = "does it run, and can it be reached from here?"
	}
	return f
}
