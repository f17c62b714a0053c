package rolebus

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// What URLs of NATS servers are.

// withScheme completes the URL of a server as nats.go does.
func withScheme(url string) string {
	if strings.Contains(url, "://") {
		return url
	}
	return "nats://" + url
}

// checkURLs says what is wrong with a NATS URL, or several with commas between them. A URL may hold a password, also
// where a slip, such as a comma within it, made it part of something else: the complaints name no more than the scheme.
func checkURLs(urls string) error {
	var errs []error
	var web, plain bool
	parts := strings.Split(urls, ",")
	for i, part := range parts {
		complain := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("NATS URL %d of %d: "+format, append([]any{i + 1, len(parts)}, args...)...))
		}
		if part = strings.TrimSpace(part); part == "" {
			complain("it is empty")
			continue
		}
		u, err := url.Parse(withScheme(part))
		switch {
		case err != nil && !strings.Contains(urls, "@"):
			complain("%w", err)
		case err != nil:
			complain("it is not a URL; in a user or a password, anything but letters and digits is written as %%XX")
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			complain("unknown scheme %q; known are nats, tls, ws, wss", u.Scheme)
		case u.Host == "":
			complain("it names no host")
		case u.Port() != "" && !validPort(u.Port()):
			complain("its port must be a number from 1 to 65535")
		case strings.HasPrefix(u.Scheme, "ws"):
			web = true
		default:
			plain = true
		}
	}
	if web && plain {
		errs = append(errs, errors.New("NATS URLs: ws and wss do not go with nats and tls in one list")) // nats.go goes by the first one
	}
	return errors.Join(errs...)
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// hostsOf returns the hosts of NATS URLs, for people. What may be a part of a user or a password that a slip cut off is left
// out: a part that goes on with an @ behind its host, or in the next part of the list.
func hostsOf(urls string) string {
	var hosts []string
	cut := false
	for _, part := range slices.Backward(strings.Split(urls, ",")) {
		part = strings.TrimSpace(part)
		whole := strings.Contains(part, "://")
		u, err := url.Parse(withScheme(part))
		if err == nil && u.Host != "" && !cut && !strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
			hosts = append(hosts, u.Host)
		}
		cut = !whole && (cut || strings.Contains(part, "@"))
	}
	slices.Reverse(hosts)
	return strings.Join(hosts, ", ")
}

// secureURL says whether a server's URL wants TLS, which nats.go then insists on with all servers.
func secureURL(u string) bool {
	scheme, _, _ := strings.Cut(u, "://")
	return wantsTLS(scheme)
}

func wantsTLS(scheme string) bool { return scheme == "tls" || scheme == "wss" }

func isWeb(scheme string) bool { return strings.HasPrefix(scheme, "ws") }
