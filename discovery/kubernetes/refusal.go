package kubernetes

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus/discovery"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// said says whether an error is what an API server answered, so that the connection to it works.
func said(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// asked is for how long the server asked to be left alone. A server that asks for more than a while is taken at its word no further.
func asked(err error) time.Duration {
	seconds, _ := apierrors.SuggestsClientDelay(err)
	return min(time.Duration(seconds)*time.Second, time.Minute)
}

// explain makes a failure of what came of a request.
func (f *follower) explain(source, verb string, err error, late bool) *discovery.Failure {
	failure := &discovery.Failure{Source: source, Reason: discovery.ReasonOther, Err: err}
	var ours *discovery.Failure
	var status apierrors.APIStatus
	var at *url.Error
	var dns *net.DNSError
	var network net.Error
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &ours): // of the files of the service account
		return ours
	case errors.As(err, &status):
		f.answered(failure, verb, status.Status())
	case late || errors.Is(err, context.DeadlineExceeded):
		failure.Reason, failure.Err = discovery.ReasonTimeout, fmt.Errorf("no answer within %v: %w", f.w.Timeout(), context.DeadlineExceeded)
		failure.Mend = "is the API server well, does a NetworkPolicy let the pod reach it, or is what it lists so much that it needs a longer discovery.Timeout?"
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid):
		failure.Mend = "whoever answers there is not who the certificate authority vouches for, so no token was sent: is ca.crt that of this cluster, " +
			"and does its certificate name the host that kubernetes.Master says?"
	case errors.As(err, &dns):
		failure.Reason = discovery.ReasonUnavailable
		if dns.IsNotFound {
			failure.Reason = discovery.ReasonOther // not "not found": that is said of what the API server has
		}
		failure.Mend = "give kubernetes.Master the address of the API server, or let the pod have cluster DNS"
	case errors.As(err, &at), errors.As(err, &network):
		failure.Reason = discovery.ReasonUnavailable
		failure.Mend = "is the API server there, and is that its address?"
		if errors.As(err, &network) && network.Timeout() {
			failure.Reason = discovery.ReasonTimeout
		}
	default:
		failure.Reason = discovery.ReasonMalformed
		failure.Err = errors.New(clip(err.Error()))
		failure.Mend = "is it an API server that answers there?"
	}
	return failure
}

// answer is an error that says less: a server's message has no limit.
type answer struct {
	text string
	err  error
}

func (a *answer) Error() string { return a.text }
func (a *answer) Unwrap() error { return a.err }

// answered explains an answer of the server that is none of success.
func (f *follower) answered(failure *discovery.Failure, verb string, status metav1.Status) {
	failure.Reason = discovery.ReasonOfStatus(int(status.Code))
	failure.Err = &answer{clip(failure.Err.Error()), failure.Err}
	switch failure.Reason {
	case discovery.ReasonUnauthorized:
		failure.Mend = "the token is not, or no longer, one of this cluster: it is read anew for each request; was the service account or the pod " +
			"deleted, or is the cluster another one?"
	case discovery.ReasonForbidden:
		failure.Mend = f.missing(status.Message)
	case discovery.ReasonNotFound:
		failure.Reason = discovery.ReasonOther // nothing is known of what was asked for
		failure.Mend = "is it an API server of Kubernetes 1.21 or newer that answers there, and does kubernetes.Master have no path?"
	case discovery.ReasonGone:
		failure.Mend = "what changed meanwhile is forgotten: all is listed again"
	case discovery.ReasonThrottled:
		failure.Mend = "the API server has much to do: it is asked again later, and a longer discovery.Interval asks it less"
	}
	if status.Code >= 300 && status.Code < 400 {
		failure.Mend = "it redirects, and a token is not sent elsewhere: give kubernetes.Master, or kubernetes.Config, the address of the API server itself"
	}
	if verb == "watch" && failure.Reason != discovery.ReasonGone {
		failure.Mend = strings.TrimPrefix(failure.Mend+"; ", "; ") + "until then it is listed at each interval"
	}
}

// broken says whether the last event of a watch, which client-go makes then, means that its connection was lost.
func broken(object runtime.Object) bool {
	status, ok := object.(*metav1.Status)
	if !ok || !strings.Contains(status.Message, unreadable) {
		return false
	}
	for _, lost := range []string{"connection lost", "connection reset", "use of closed network connection", "stream error", "GOAWAY", "timeout", "deadline", "EOF"} {
		if strings.Contains(status.Message, lost) {
			return true
		}
	}
	return false
}

const unreadable = "unable to decode an event from the watch stream"

// ended explains the last event of a watch.
func (f *follower) ended(source string, object runtime.Object) *discovery.Failure {
	status, ok := object.(*metav1.Status)
	if !ok {
		return f.strange(source, fmt.Sprintf("an error came that is a %T", object))
	}
	err := apierrors.FromObject(status)
	if apierrors.IsResourceExpired(err) { // not IsGone, although its code is 410, too
		status.Code = http.StatusGone
	}
	if status.Code == http.StatusInternalServerError && strings.Contains(status.Message, unreadable) {
		return f.strange(source, clip(status.Message)) // client-go makes it of what it cannot read
	}
	failure := &discovery.Failure{Source: source, Err: err}
	f.answered(failure, "watch", *status)
	return failure
}

func (f *follower) strange(source, text string) *discovery.Failure {
	return &discovery.Failure{Source: source, Reason: discovery.ReasonMalformed, Err: errors.New(text), Mend: "is it an API server that answers there?"}
}

var forbiddenUser = regexp.MustCompile(`User "([^"]*)"`)

// missing says what RBAC lacks, as kubectl apply takes it. It is YAML on one line and without quotation marks, so that it comes through a log.
func (f *follower) missing(message string) string {
	user := ""
	if found := forbiddenUser.FindStringSubmatch(message); found != nil {
		user = found[1]
	}
	if user == "system:anonymous" {
		return "no token was sent, or none that counts: give the pod a service account, or kubernetes.Config credentials"
	}
	// Whatever else has been applied has other names: the Role of another strategy, and the RoleBinding of another account, stay as they are.
	role, verbs := "rolebus-discovery-"+f.of.plural, "list, watch"
	if f.o.listsOnly {
		role, verbs = "rolebus-discovery-list-"+f.of.plural, "list"
	}
	rule := fmt.Sprintf("{apiGroups: [%s], resources: [%s], verbs: [%s]}", plain(f.of.group), f.of.plural, verbs)
	if user == "" || len(user) > 256 {
		return fmt.Sprintf("its account needs this rule of a Role in namespace %s: %s", f.namespace, rule)
	}
	subject := fmt.Sprintf("{kind: User, apiGroup: rbac.authorization.k8s.io, name: %s}", plain(user))
	who, binding := "user "+user, role+":user:"+strings.NewReplacer("/", "-", "%", "-").Replace(user) // a name has neither
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		if of, name, ok := strings.Cut(account, ":"); ok {
			subject = fmt.Sprintf("{kind: ServiceAccount, namespace: %s, name: %s}", plain(of), plain(name))
			who, binding = fmt.Sprintf("service account %s of namespace %s", name, of), role+":"+account
		}
	}
	namespace := plain(f.namespace)
	return fmt.Sprintf("%s lacks a rule; kubectl apply -f - takes: {apiVersion: v1, kind: List, items: ["+
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {namespace: %s, name: %s}, rules: [%s]}, "+
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {namespace: %s, name: %s}, "+
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %s}, subjects: [%s]}]}",
		who, namespace, role, rule, namespace, plain(binding), role, subject)
}

// These YAML takes for a text as they are, all but a few words.
var plainText = regexp.MustCompile(`^[A-Za-z]([-A-Za-z0-9._:@/]*[-A-Za-z0-9._@/])?$`)

// plain is a text as YAML takes it between braces. A namespace may be named 123, or true.
func plain(name string) string {
	word := slices.Contains([]string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, strings.ToLower(name))
	if word || !plainText.MatchString(name) {
		return "'" + strings.ReplaceAll(name, "'", "''") + "'"
	}
	return name
}

// clip keeps a text short that came from anywhere.
func clip(text string) string {
	if len(text) > 300 {
		return strings.ToValidUTF8(text[:300], "") + "..."
	}
	return text
}
