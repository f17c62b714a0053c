package discovery

import "fmt"

// unusable are the addresses of an answer that cannot be used.
type unusable struct {
	mend  string
	n     int
	first error
}

func (u *unusable) isGood(problem error) bool {
	if problem == nil {
		return true
	}
	if u.n++; u.n == 1 {
		u.first = problem
	}
	return false
}

// in tells of them beside the others, or in their place if there are none.
func (u *unusable) in(a answer, source string) answer {
	if u.n == 0 {
		return a
	}
	err := u.first
	if u.n > 1 {
		err = fmt.Errorf("%d of %d cannot be used: the first: %w", u.n, u.n+len(a.addresses), err)
	}
	f := &Failure{Source: source, Reason: ReasonMalformed, Err: err, Mend: u.mend}
	if len(a.addresses) == 0 && a.err == nil {
		a.err = f
	} else {
		a.beside = f
	}
	return a
}
