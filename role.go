package rolebus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxRole is the largest size of a role, in bytes.
const maxRole = 4096

// Role is a name that a node gives itself in a scope: any UTF-8 text from 1 to 4,096 bytes. Two roles are the same if
// and only if their text is the same, byte for byte. A role that is a number, a tuple or an object is the text that
// [RoleOf] makes of it.
type Role string

// RoleOf makes a role of any value that can be written as JSON, so that different values are different roles and equal
// values are the same role in every process: 42 and "42" differ, and so do "a" and []string{"a"}.
//
// A Role is returned as it is. Text stays as it is, too, unless it reads as JSON itself, like "42" or "[]"; then the
// role is its JSON form, with the quotes. Any other value becomes compact JSON with sorted object keys. Numbers keep
// the digits that encoding/json writes for them, so 42 and 42.0 are one role; there is no -0, only 0.
// What JSON leaves out, such as a field that is not exported, is no part of the role.
//
// The error matches [ErrBadName] if the result is empty, too long or not UTF-8, and is encoding/json's own if the value
// has no JSON form.
func RoleOf(v any) (Role, error) {
	if role, ok := v.(Role); ok {
		return role.checked()
	}
	if text, ok := v.(string); ok {
		return textRole(text)
	}
	raw, err := marshalJSON(v)
	if err != nil {
		return "", failed(fmt.Sprintf("role of %T", v), err)
	}
	// Once more through plain values: equal objects get equal text, whatever type they came from.
	var value any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return "", failed(fmt.Sprintf("role of %T", v), err)
	}
	plain, err := marshalJSON(withoutMinusZero(value))
	if err != nil {
		return "", failed(fmt.Sprintf("role of %T", v), err)
	}
	if replaced(raw, plain) {
		return "", failed(fmt.Sprintf("role of %T", v), fmt.Errorf("%w: it holds text that is not UTF-8", ErrBadName))
	}
	if text, ok := value.(string); ok {
		return textRole(text)
	}
	return Role(plain).checked()
}

// MustRole is [RoleOf] for values that are known to make a role, as in a variable of a package: it panics with RoleOf's error.
func MustRole(v any) Role {
	role, err := RoleOf(v)
	if err != nil {
		panic(err)
	}
	return role
}

// RoleAs returns the value that a role was made of: the inverse of [RoleOf]. As a string the role "api" is "api" and the role
// "\"42\"" is "42"; as an int the role "42" is 42. T may be any type that JSON can be read into. As an any a role that is no JSON is a
// string; a number in an any is a [json.Number], which has all its digits. As a Role it is as it is.
//
// What T cannot hold without loss is an error: a role that RoleOf would not make of the result again, such as an object with a
// field that T lacks, or one without a field that T always writes. The error matches [ErrBadName] if the role itself is none.
func RoleAs[T any](role Role) (T, error) {
	var value, none T
	err := role.check()
	if itself, ok := any(&value).(*Role); ok && err == nil {
		*itself = role
		return value, nil
	}
	if err == nil {
		err = decodeRole(role, &value)
	}
	if err == nil {
		switch again, none := RoleOf(value); {
		case none != nil: // of the result; the role itself is well
			err = fmt.Errorf("something is lost: the result makes no role: %s", strings.ReplaceAll(none.Error(), prefix, ""))
		case again != role:
			err = fmt.Errorf("something is lost: of the result it would be the role %q", clip(string(again)))
		}
	}
	if err != nil {
		return none, failed(fmt.Sprintf("role %q as %v", clip(string(role)), reflect.TypeFor[T]()), err)
	}
	return value, nil
}

// decodeRole reads a role into what a pointer points to. Text that is no JSON stands for its JSON form.
func decodeRole(role Role, into any) error {
	raw := []byte(role)
	if !json.Valid(raw) {
		raw = encodeText(string(role))
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(into)
}

// withoutMinusZero puts 0 for -0, which is equal to it, and which not every language can tell from it.
func withoutMinusZero(value any) any {
	switch v := value.(type) {
	case json.Number:
		if v == "-0" {
			return json.Number("0")
		}
	case []any:
		for i := range v {
			v[i] = withoutMinusZero(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = withoutMinusZero(v[key])
		}
	}
	return value
}

func textRole(text string) (Role, error) {
	if err := Role(text).check(); err != nil {
		return "", err
	}
	if !json.Valid([]byte(text)) {
		return Role(text), nil
	}
	raw, err := marshalJSON(text)
	if err != nil {
		return "", failed(fmt.Sprintf("role of %q", clip(text)), err)
	}
	return Role(raw).checked()
}

func marshalJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// replaced says whether encoding/json put U+FFFD for what is no text: bytes that are not UTF-8, half a surrogate pair.
// Unseen, different values would become one role. A genuine U+FFFD stands as itself on both sides.
func replaced(raw, plain []byte) bool {
	mark := []byte("\uFFFD")
	return !utf8.Valid(raw) || bytes.Count(plain, mark) != bytes.Count(raw, mark)
}

// checked returns the role, or why it cannot be one.
func (r Role) checked() (Role, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	return r, nil
}

func (r Role) check() error {
	switch {
	case r == "":
		return fmt.Errorf("%w: role is empty", ErrBadName)
	case len(r) > maxRole:
		return fmt.Errorf("%w: role %q takes %d bytes, at most %d", ErrBadName, clip(string(r)), len(r), maxRole)
	case !utf8.ValidString(string(r)):
		return fmt.Errorf("%w: role %q is not UTF-8", ErrBadName, clip(string(r)))
	}
	return nil
}

func checkRoles(roles []Role) error {
	for _, role := range roles {
		if err := role.check(); err != nil {
			return err
		}
	}
	return nil
}

// roleSet returns the roles sorted, each once, in a slice of its own with no spare capacity.
func roleSet(roles []Role) []Role { return sorted(slices.Clone(roles)) }

// sorted sorts roles in place and returns each once, with no spare capacity; nil if there are none, so that Roles without any are the
// zero Roles.
func sorted(roles []Role) []Role {
	if len(roles) == 0 {
		return nil
	}
	slices.Sort(roles)
	return slices.Clip(slices.Compact(roles))
}

// merge returns a sorted set without the roles of one other, and then with those of another; nil if none are left.
func merge(set, added, removed []Role) []Role {
	next := make([]Role, 0, len(set)+len(added))
	for _, role := range set {
		for len(added) > 0 && added[0] < role {
			next, added = append(next, added[0]), added[1:]
		}
		again := len(added) > 0 && added[0] == role
		if again {
			added = added[1:]
		}
		if again || !holds(removed, role) {
			next = append(next, role)
		}
	}
	if next = append(next, added...); len(next) == 0 {
		return nil
	}
	return slices.Clip(next)
}

// missing returns the roles of one sorted set that another lacks.
func missing(from, set []Role) []Role {
	var out []Role
	for _, role := range from {
		if !holds(set, role) {
			out = append(out, role)
		}
	}
	return out
}

func holds(set []Role, role Role) bool {
	_, found := slices.BinarySearch(set, role)
	return found
}
