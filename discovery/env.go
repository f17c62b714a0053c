package discovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"
)

// defaultVariable is where NATS's own tools look.
const defaultVariable = "NATS_URL"

// Env lists the addresses that stand in an environment variable, NATS_URL if it is "": as [ParseAddress] takes them, separated by commas, white
// space or both. It is read again each interval, as a program may change it.
//
// A variable that is not set, or empty, is no error of the strategy: it finds nothing then, which is told ([ReasonEmpty]), and looks again;
// so a program can have it always, and is configured by it or not. What is no address is left out and told. A value with a user or a password
// in it is refused as a whole, and not shown anywhere: where a password ends, and whether a comma belongs to it, cannot be seen. They
// belong into the URL of Connect, or into WithNATS.
//
// Options: [Interval], [Port], [Scheme], [Routes], [Cluster], [TLSName], and those for all.
func Env(variable string, opts ...Option) Strategy {
	o := collect(opts, forShape, []string{"Interval"})
	if variable == "" {
		variable = defaultVariable
	}
	var wrong error
	if strings.ContainsFunc(variable, func(r rune) bool { return r == '=' || r == 0 || unicode.IsSpace(r) }) {
		wrong = fmt.Errorf("%q is no name of an environment variable", shown(variable))
	}
	return made("Env", shown(variable), o, o.polling(func(context.Context) []answer {
		return []answer{o.variable(variable)}
	}), wrong, o.shapeErr())
}

// variable reads it once.
func (o *options) variable(name string) (a answer) {
	value, set := os.LookupEnv(name)
	texts := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	nothing := func(text string) answer {
		return answer{err: &Failure{Source: name, Reason: ReasonEmpty, Err: errors.New(text), Mend: "set it to host:port, several with commas between"}}
	}
	switch {
	case !set:
		return nothing("the environment variable is not set")
	case len(texts) == 0:
		return nothing("the environment variable is empty")
	case strings.Contains(value, "@"):
		return answer{err: &Failure{
			Source: name, Reason: ReasonMalformed, Err: errors.New("an address has no user and no password, so none of it is used"),
			Mend: "give them in the URL of Connect, or by WithNATS, and let the environment variable have hosts and ports only",
		}}
	}
	bad := &unusable{mend: "it takes host:port or URLs, with commas or white space between"}
	for _, text := range texts {
		address, problem := ParseAddress(text)
		if bad.isGood(problem) {
			a.addresses = append(a.addresses, o.complete(address))
		}
	}
	return bad.in(a, name)
}
