package rolebus

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

type pluginName string

type pluginPoint struct {
	Y int `json:"y"`
	X int `json:"x"`
}

func TestRoleOf(t *testing.T) {
	cases := []struct {
		name  string
		value any
		want  Role
	}{
		{"text", "gateway", "gateway"},
		{"text with spaces", " a b ", " a b "},
		{"text with a line break", "a\nb", "a\nb"},
		{"text beyond ASCII", "größe-\U0001F600", "größe-\U0001F600"},
		{"text with the replacement character", "\ufffd", "\ufffd"},
		{"text that only looks like JSON", "{a}", "{a}"},
		{"text that is not HTML", "<a&b>", "<a&b>"},
		{"number", 42, "42"},
		{"text that reads as a number", "42", `"42"`},
		{"text that reads as a number with a space", " 42", `" 42"`},
		{"text that reads as text", `"a"`, `"\"a\""`},
		{"text that reads as the JSON of a number in text", `"42"`, `"\"42\""`},
		{"text that reads as a list", "[]", `"[]"`},
		{"text that reads as nil", "null", `"null"`},
		{"text that reads as a truth", "true", `"true"`},
		{"nil", nil, "null"},
		{"truth", true, "true"},
		{"negative", -1, "-1"},
		{"fraction", 0.1, "0.1"},
		{"whole fraction", 42.5, "42.5"},
		{"beyond what a float holds", uint64(1<<64 - 1), "18446744073709551615"},
		{"number that Go has no type for", json.Number("123456789012345678901234567890"), "123456789012345678901234567890"},
		{"list of text", []string{"a"}, `["a"]`},
		{"list of text that reads as a number", []string{"42"}, `["42"]`},
		{"list of a number", []int{42}, "[42]"},
		{"empty list", []string{}, "[]"},
		{"nested", []any{"a", []any{1, nil, map[string]any{}}}, `["a",[1,null,{}]]`},
		{"keys are sorted", map[string]int{"b": 2, "a": 1}, `{"a":1,"b":2}`},
		{"keys are sorted, whatever a struct says", pluginPoint{X: 1, Y: 2}, `{"x":1,"y":2}`},
		{"nested keys are sorted", []any{pluginPoint{X: 3, Y: 4}}, `[{"x":3,"y":4}]`},
		{"raw JSON is made compact", json.RawMessage(` { "b" : [ 1 , 2 ] , "a" : "<&>" } `), `{"a":"<&>","b":[1,2]}`},
		{"raw text", json.RawMessage(`"a\u0062"`), "ab"},
		{"raw surrogate pair", json.RawMessage(`["\ud83d\ude00"]`), "[\"\U0001F600\"]"},
		{"a genuine replacement character inside", []string{"\ufffd"}, "[\"\ufffd\"]"},
		{"an escape that is only text", []string{`\ufffd`}, `["\\ufffd"]`},
	}
	seen := map[Role]string{}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got, err := RoleOf(tc.value)
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
			require.Empty(t, seen[got], "no two of these values are one role")
			seen[got] = tc.name
		})
	}
}

func TestRoleOfMakesEqualValuesOneRole(t *testing.T) {
	for _, tc := range []struct {
		name   string
		values []any
		want   Role
	}{
		{"a role is itself", []any{Role("42"), 42}, "42"},
		{"numbers", []any{42, int8(42), uint64(42), 42.0, json.RawMessage("42"), json.Number("42")}, "42"},
		{"nothing", []any{nil, (*int)(nil), []int(nil), map[string]int(nil), json.RawMessage("null")}, "null"},
		{"text", []any{"a", pluginName("a"), Role("a"), json.RawMessage(`"a"`)}, "a"},
		{"text that reads as JSON", []any{"42", pluginName("42"), json.RawMessage(`"42"`)}, `"42"`},
		{"object", []any{
			pluginPoint{X: 1, Y: 2}, &pluginPoint{X: 1, Y: 2}, map[string]any{"y": 2, "x": 1},
			json.RawMessage(`{"y":2, "x":1}`), json.RawMessage(`{"x":1,"y":2}`),
		}, `{"x":1,"y":2}`},
		{"list", []any{[]string{"a"}, []any{"a"}, [1]pluginName{"a"}, []Role{"a"}, json.RawMessage(`[ "a" ]`)}, `["a"]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, value := range tc.values {
				got, err := RoleOf(value)
				require.NoError(t, err, "%T", value)
				require.Equal(t, tc.want, got, "%T", value)
			}
		})
	}
}

func TestRoleOfRefusesWhatCannotBeARole(t *testing.T) {
	for _, tc := range []struct {
		name  string
		value any
	}{
		{"empty text", ""},
		{"empty role", Role("")},
		{"empty named text", pluginName("")},
		{"long text", strings.Repeat("a", maxRole+1)},
		{"long role", Role(strings.Repeat("a", maxRole+1))},
		{"long value", []string{strings.Repeat("a", maxRole-3)}},
		{"text that is too long with its quotes", strings.Repeat("1", maxRole-1)},
		{"text that is not UTF-8", "\xff"},
		{"role that is not UTF-8", Role("a\xff")},
		{"named text that is not UTF-8", pluginName("a\xff")},
		{"nested text that is not UTF-8", []any{1, []string{"a\xff"}}},
		{"half a character", []string{"\xc3"}},
		{"key that is not UTF-8", map[string]int{"\xff": 1}},
		{"raw JSON that is not UTF-8", json.RawMessage("[\"\xff\"]")},
		{"raw JSON with half a surrogate pair", json.RawMessage(`["\ud800"]`)},
		{"raw JSON with two first halves", json.RawMessage(`["\ud83d\ud83d"]`)},
		{"raw JSON with half a pair beside a genuine replacement character", json.RawMessage("[\"\ufffd\\ud800\"]")},
		{"raw key with half a pair", json.RawMessage(`{"\ud800":1}`)},
		{"raw text with half a surrogate pair", json.RawMessage(`"\udfff"`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := RoleOf(tc.value)
			require.ErrorIs(t, err, ErrBadName)
			require.True(t, got == "", "no role beside an error")
			require.Less(t, len(err.Error()), 300, "an error does not repeat a long role")
		})
	}
	for _, value := range []any{make(chan int), func() {}, json.RawMessage("{"), []any{1i}} {
		_, err := RoleOf(value)
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrBadName, "%T has no JSON form; that is no question of names", value)
	}
}

func TestRoleOfTakesTheLongestRole(t *testing.T) {
	for _, value := range []any{
		strings.Repeat("a", maxRole), Role(strings.Repeat("a", maxRole)),
		strings.Repeat("1", maxRole-2), []string{strings.Repeat("a", maxRole-4)},
	} {
		got, err := RoleOf(value)
		require.NoError(t, err)
		require.Len(t, got, maxRole)
	}
}

// Whatever value a role is made of can be read back from it, so no two values share a role.
func TestRoleOfLosesNothing(t *testing.T) {
	rng := seeded(t)
	for range 5000 {
		value := randomValue(rng, 3)
		role, err := RoleOf(value)
		if value == "" {
			require.ErrorIs(t, err, ErrBadName)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, value, valueOf(t, role), "role %q", role)
	}
}

func randomValue(rng *rand.Rand, depth int) any {
	text := func() string {
		return pick(rng, "", "a", "b", "42", " 42", "[]", "{}", "null", `"a"`, `["a"]`, `\`, "\u2028", "\ufffd", "ä", "<")
	}
	switch n := rng.IntN(7); {
	case n == 0:
		return nil
	case n == 1:
		return rng.IntN(2) == 0
	case n == 2:
		return json.Number(strconv.Itoa(rng.IntN(100) - 50))
	case n == 3 && depth > 0:
		list := make([]any, rng.IntN(3))
		for i := range list {
			list[i] = randomValue(rng, depth-1)
		}
		return list
	case n == 4 && depth > 0:
		object := map[string]any{}
		for range rng.IntN(3) {
			object[text()] = randomValue(rng, depth-1)
		}
		return object
	}
	return text()
}

// valueOf is the inverse of RoleOf.
func valueOf(t *testing.T, role Role) (value any) {
	t.Helper()
	if !json.Valid([]byte(role)) {
		return string(role)
	}
	dec := json.NewDecoder(strings.NewReader(string(role)))
	dec.UseNumber()
	require.NoError(t, dec.Decode(&value))
	return value
}

func FuzzRoleOf(f *testing.F) {
	for _, text := range []string{"", "a", "42", " 42", `"42"`, "[]", `{"a": 1}`, "\xff", "\"\xff\"", `"\ud800"`, "\ufffd", "<\u2028>"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		role, err := RoleOf(text)
		if err == nil {
			require.Equal(t, text, valueOf(t, role))
			require.NoError(t, role.check())
		} else {
			require.ErrorIs(t, err, ErrBadName)
			require.True(t, text == "" || len(text) > maxRole/2-2 || !utf8.ValidString(text), "refused: %q", text)
		}

		named, errNamed := RoleOf(pluginName(text))
		require.Equal(t, role, named)
		require.Equal(t, err == nil, errNamed == nil)

		if nested, err := RoleOf([]string{text}); err == nil {
			require.Equal(t, []any{text}, valueOf(t, nested))
			require.NotEqual(t, role, nested)
		} else {
			require.True(t, len(text) > maxRole/6-4 || !utf8.ValidString(text), "refused: [%q]", text)
		}

		// As raw JSON: a role that is JSON is the role of what it says.
		if raw, err := RoleOf(json.RawMessage(text)); err == nil {
			require.NoError(t, raw.check())
			require.True(t, utf8.ValidString(text), "%q became %q", text, raw)
			if json.Valid([]byte(raw)) {
				again, err := RoleOf(json.RawMessage(raw))
				require.NoError(t, err)
				require.Equal(t, raw, again)
			}
		}
	})
}

type pluginShard struct {
	Name  pluginName        `json:"name"`
	Shard uint64            `json:"shard"`
	Tags  map[string]string `json:"tags,omitempty"`
	Next  *pluginShard      `json:"next,omitempty"`
}

// wantRoleAs says that a role is read as a value.
func wantRoleAs[T any](t *testing.T, role Role, want T) {
	t.Helper()
	got, err := RoleAs[T](role)
	require.NoError(t, err, "%q as %T", role, want)
	require.Equal(t, want, got, "%q", role)
}

func TestRoleAs(t *testing.T) {
	wantRoleAs(t, "api", "api")
	wantRoleAs(t, "api", pluginName("api"))
	wantRoleAs(t, "{a}", "{a}")
	wantRoleAs(t, `"42"`, "42")
	wantRoleAs(t, `"42"`, pluginName("42"))
	wantRoleAs(t, "42", 42)
	wantRoleAs(t, "42", int8(42))
	wantRoleAs(t, "42", 42.0)
	wantRoleAs(t, "18446744073709551615", uint64(1<<64-1))
	wantRoleAs(t, "true", true)
	for _, role := range []Role{"api", "42", `"42"`, "{a}", "1.0"} {
		wantRoleAs(t, role, role)
	}
	wantRoleAs(t, `{"x":1,"y":2}`, pluginPoint{X: 1, Y: 2})
	wantRoleAs(t, `{"x":1,"y":2}`, &pluginPoint{X: 1, Y: 2})
	wantRoleAs(t, `["a","42"]`, []string{"a", "42"})
	wantRoleAs(t, `["a","42"]`, []Role{"a", "42"})
	wantRoleAs(t, "[]", []string{})
	wantRoleAs(t, "null", []string(nil))
	wantRoleAs[any](t, "api", "api")
	wantRoleAs[any](t, `"42"`, "42")
	wantRoleAs[any](t, "42", json.Number("42"))
	wantRoleAs[any](t, "123456789012345678901234567890", json.Number("123456789012345678901234567890"))
	wantRoleAs[any](t, "null", nil)
	wantRoleAs[any](t, `{"a":[1,"b"]}`, map[string]any{"a": []any{json.Number("1"), "b"}})
	wantRoleAs(t, `{"a":1}`, json.RawMessage(`{"a":1}`))
	wantRoleAs(t, "a<&>", json.RawMessage(`"a<&>"`))
}

// refusesRoleAs says that a role is not read as a T, and why.
func refusesRoleAs[T any](t *testing.T, role Role, says string) {
	t.Helper()
	got, err := RoleAs[T](role)
	require.ErrorContains(t, err, says, "%q", role)
	require.True(t, strings.HasPrefix(err.Error(), "rolebus: role "), err)
	require.Zero(t, got, "nothing beside an error")
	require.Less(t, len(err.Error()), 400, "an error does not repeat a long role")
}

func TestRoleAsRefusesWhatIsLost(t *testing.T) {
	_, err := RoleAs[string]("null")
	require.NotErrorIs(t, err, ErrBadName, "the role is one")
	refusesRoleAs[string](t, "42", "cannot unmarshal number")
	refusesRoleAs[int](t, "api", "cannot unmarshal string")
	refusesRoleAs[int](t, `"42"`, `role "\"42\"" as int: `)
	refusesRoleAs[int](t, "42.5", "cannot unmarshal number")
	refusesRoleAs[int8](t, "300", "cannot unmarshal number 300")
	refusesRoleAs[func()](t, "api", "as func()")
	const lost = "something is lost: of the result it would be the role "
	refusesRoleAs[float64](t, "18446744073709551615", lost+`"18446744073709552000"`)
	refusesRoleAs[float64](t, "42.0", lost+`"42"`)
	refusesRoleAs[string](t, `"api"`, lost+`"api"`)
	refusesRoleAs[pluginPoint](t, `{"x":1}`, lost+`"{\"x\":1,\"y\":0}"`)
	refusesRoleAs[pluginPoint](t, `{"x":1,"y":2,"z":3}`, lost)
	refusesRoleAs[pluginPoint](t, `{"y":2,"x":1}`, lost)
	refusesRoleAs[any](t, `{"a":1,"a":2}`, lost)
	refusesRoleAs[any](t, `["\ud800"]`, lost)
	refusesRoleAs[[]int](t, "[1, 2]", lost)
	refusesRoleAs[[1]int](t, "[1,2]", lost)
	refusesRoleAs[string](t, "null", "something is lost: the result makes no role: bad name: role is empty")
	refusesRoleAs[any](t, `""`, "role is empty")
	refusesRoleAs[pluginPoint](t, Role("{"+strings.Repeat(" ", maxRole-2)+"}"), lost)
	for _, role := range []Role{"", "\xff", Role(strings.Repeat("a", maxRole+1))} {
		_, err := RoleAs[string](role)
		require.ErrorIs(t, err, ErrBadName)
		_, err = RoleAs[Role](role)
		require.ErrorIs(t, err, ErrBadName)
	}
}

func TestMustRole(t *testing.T) {
	require.Equal(t, Role(`["shard",7]`), MustRole([]any{"shard", 7}))
	defer func() {
		_, want := RoleOf("")
		require.Equal(t, want, recover())
	}()
	MustRole("")
}

// roundTrip says that a value comes back from its role.
func roundTrip[T any](t *testing.T, value T) {
	t.Helper()
	role, err := RoleOf(value)
	require.NoError(t, err, "%#v", value)
	wantRoleAs(t, role, value)
}

// Whatever value a role is made of is read back from it.
func TestRoleAsIsTheInverseOfRoleOf(t *testing.T) {
	rng := seeded(t)
	text := func() string {
		return pick(rng, "a", "42", " 42", "[]", "{}", "null", `"a"`, `["a"]`, `\`, "\u2028", "\ufffd", "ä", "<", "\n", "\x00", "-0")
	}
	for range 2000 {
		roundTrip(t, text())
		roundTrip(t, pluginName(text()))
		roundTrip(t, Role(text()))
		roundTrip(t, rng.Int64()-rng.Int64())
		roundTrip(t, int8(rng.IntN(256)-128))
		roundTrip(t, rng.Uint64())
		roundTrip(t, rng.NormFloat64()*1e30)
		roundTrip(t, float32(rng.NormFloat64()))
		roundTrip(t, rng.IntN(2) == 0)
		roundTrip(t, []string{text(), text()}[:rng.IntN(3)])
		roundTrip(t, []Role{Role(text())})
		roundTrip(t, [2]int{rng.IntN(9), -rng.IntN(9)})
		roundTrip(t, []byte(text()))
		roundTrip(t, map[string]int{text(): rng.IntN(9), text(): rng.IntN(9)})
		roundTrip(t, map[int]string{rng.IntN(9): text()})
		shard := pluginShard{Name: pluginName(text()), Shard: rng.Uint64(), Tags: map[string]string{text(): text()}}
		roundTrip(t, shard)
		roundTrip(t, &shard)
		roundTrip(t, pluginShard{Next: &shard})
		if value := randomValue(rng, 3); value != "" {
			roundTrip(t, value)
		}
	}
}

// fuzzRoleAs demands that whatever is read from a role makes it again.
func fuzzRoleAs[T any](t *testing.T, role Role) {
	value, err := RoleAs[T](role)
	if err != nil {
		return
	}
	again, err := RoleOf(value)
	require.NoError(t, err)
	require.Equal(t, role, again)
	wantRoleAs(t, role, value)
}

func FuzzRoleAs(f *testing.F) {
	for _, text := range []string{
		"", "a", "42", " 42", `"42"`, `"a"`, "-0", "1.0", "1e3", "[]", "[1,2]", `{"x":1,"y":2}`, `{"x":1}`, `{"a": 1}`, "null", "true",
		"\xff", `"\ud800"`, "\ufffd", "<\u2028>", `["a"]`, `{"name":"a","shard":1}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		role := Role(text)
		fuzzRoleAs[string](t, role)
		fuzzRoleAs[pluginName](t, role)
		fuzzRoleAs[int](t, role)
		fuzzRoleAs[float64](t, role)
		fuzzRoleAs[bool](t, role)
		fuzzRoleAs[[]any](t, role)
		fuzzRoleAs[map[string]any](t, role)
		fuzzRoleAs[pluginPoint](t, role)
		fuzzRoleAs[pluginShard](t, role)
		fuzzRoleAs[json.RawMessage](t, role)
		fuzzRoleAs[any](t, role)
		if role.check() == nil {
			fuzzRoleAs[Role](t, role)
		}
		// What RoleOf makes of text, or of what JSON says, is read back as that.
		if role, err := RoleOf(text); err == nil {
			wantRoleAs(t, role, text)
		}
		var value any
		if role, err := RoleOf(json.RawMessage(text)); err == nil {
			require.NoError(t, decodeRole(role, &value))
			wantRoleAs(t, role, value)
		}
	})
}

func TestRoleSets(t *testing.T) {
	given := []Role{"c", "a", "b", "a"}
	set := roleSet(given)
	require.Equal(t, []Role{"a", "b", "c"}, set)
	require.Equal(t, []Role{"c", "a", "b", "a"}, given, "the caller's slice is the caller's")
	require.Equal(t, len(set), cap(set), "appending to a shared slice must copy")

	require.Nil(t, roleSet([]Role{}))

	sets := [][]Role{nil, {"a"}, {"b"}, {"a", "b"}, {"b", "c"}, {"a", "b", "c", "d"}}
	for _, a := range sets {
		for _, b := range sets {
			var gone []Role
			for _, role := range a {
				if !slices.Contains(b, role) {
					gone = append(gone, role)
				}
			}
			require.Equal(t, gone, missing(a, b), "%v without %v", a, b)
			for _, removed := range sets {
				want := map[Role]bool{}
				for _, role := range a {
					want[role] = !slices.Contains(removed, role)
				}
				for _, role := range b {
					want[role] = true
				}
				got := merge(a, b, removed)
				for role, has := range want {
					require.Equal(t, has, holds(got, role), "%v and %v without %v: %q", a, b, removed, role)
				}
				require.Subset(t, append(slices.Clone(a), b...), got)
				require.True(t, slices.IsSorted(got))
				require.Len(t, slices.Compact(slices.Clone(got)), len(got))
				require.Equal(t, len(got), cap(got))
				require.Equal(t, len(got) == 0, got == nil)
			}
		}
	}
}
