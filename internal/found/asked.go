package found

import (
	"errors"
	"fmt"
)

// NameOf is what logs call a strategy, also a user's.
func NameOf(strategy any) (name string) {
	defer func() {
		if recover() != nil { // such as of a nil pointer
			name = fmt.Sprintf("%T", strategy)
		}
	}()
	if named, ok := strategy.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("%T", strategy)
}

// ErrOf is what is wrong with a strategy, if that can be asked of it.
func ErrOf(strategy any) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("discovery: the strategy, a %T, panics when it is asked whether it can be used: %v", strategy, fault)
		}
	}()
	if strategy == nil {
		return errors.New("discovery: the strategy is nil")
	}
	if checked, ok := strategy.(interface{ Err() error }); ok {
		return Tame(checked.Err())
	}
	return nil
}
