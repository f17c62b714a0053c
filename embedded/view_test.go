package embedded

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var viewBegan = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func spareHello(instance string) *hello {
	return &hello{Name: "n" + instance, Instance: instance, Phase: phaseSpare, Port: 6222, RoutePort: 6248, Size: 3}
}

// A process that is reached by two addresses is at one of them as long as it answers: routes do not come and go with who spoke last.
func TestContactStaysWhileItIsHeard(t *testing.T) {
	var v view
	now := viewBegan
	byName := contact{Host: "a.example", Port: 6222}
	v.hear(now, byName, spareHello("1"))
	for range 10 {
		now = now.Add(time.Second)
		v.hear(now, contact{Host: "10.0.0.1"}, spareHello("1"))
		require.Equal(t, byName, v.others["1"].contact)
	}
	v.hear(now, contact{Host: "10.0.0.1", TLSName: "a.example"}, spareHello("1"))
	require.Equal(t, "a.example", v.others["1"].contact.TLSName, "but for one by which its certificate can be checked")
	v.hear(now, byName, spareHello("1"))
	require.Equal(t, contact{Host: "10.0.0.1", Port: 6222, TLSName: "a.example"}, v.others["1"].contact)

	moved := spareHello("1")
	moved.Port = 7000
	v.hear(now, byName, moved)
	require.Equal(t, contact{Host: "a.example", Port: 7000}, v.others["1"].contact, "it listens elsewhere")
	now = now.Add(fresh + time.Millisecond)
	v.hear(now, contact{Host: "10.0.0.9"}, moved)
	require.Equal(t, "10.0.0.9", v.others["1"].contact.Host, "it was not heard for long")

	told := spareHello("1")
	told.Port, told.Host = 7000, "b.example"
	v.hear(now, contact{Host: "10.0.0.9"}, told)
	require.Equal(t, "b.example", v.others["1"].contact.Host, "it says itself where it is")
	require.Len(t, v.others, 1)
}

func TestWhoIsReachedWhereAnotherWasHasItsPlace(t *testing.T) {
	var v view
	v.hear(viewBegan, contact{Host: "10.0.0.1"}, spareHello("1"))
	v.hear(viewBegan, contact{Host: "10.0.0.2"}, spareHello("2"))
	v.hear(viewBegan, contact{Host: "10.0.0.1"}, spareHello("3"))
	require.Len(t, v.others, 2)
	require.Nil(t, v.others["1"])
}

func TestWhoDoesNotAnswerIsBelievedForAMoment(t *testing.T) {
	var v view
	now := viewBegan
	at := contact{Host: "10.0.0.1", Port: 6222}
	v.hear(now, at, spareHello("1"))
	o := v.others["1"]
	require.True(t, o.fresh(now.Add(fresh)))
	require.False(t, o.fresh(now.Add(fresh+1)))
	v.miss(now, contact{Host: "10.0.0.2", Port: 6222})
	require.True(t, o.fresh(now.Add(fresh)), "another did not answer")
	v.miss(now, at)
	require.True(t, o.fresh(now.Add(fresh/3)))
	require.False(t, o.fresh(now.Add(fresh/3+1)))
	v.miss(now.Add(time.Hour), at)
	require.False(t, o.fresh(now.Add(fresh/3+1)), "that it fails again makes it no better")
	v.hear(now.Add(2*time.Second), at, spareHello("1"))
	require.True(t, v.others["1"].fresh(now.Add(2*time.Second+fresh)))
}

func TestWhoIsSilentForLongIsForgotten(t *testing.T) {
	var v view
	v.hear(viewBegan, contact{Host: "10.0.0.1"}, spareHello("1"))
	v.forget(viewBegan.Add(silent))
	require.Len(t, v.others, 1)
	v.forget(viewBegan.Add(silent + 1))
	require.Empty(t, v.others)
}

// What is kept has a bound, and those who are there are not kept out by those who were.
func TestViewIsBounded(t *testing.T) {
	var v view
	now := viewBegan
	for i := range mostKnown {
		v.hear(now, contact{Host: fmt.Sprintf("10.0.%d.%d", i/256, i%256)}, spareHello(fmt.Sprint(i)))
		now = now.Add(time.Millisecond)
	}
	v.hear(now, contact{Host: "10.9.0.1"}, spareHello("early"))
	require.Nil(t, v.others["early"], "all are there")
	now = now.Add(fresh)
	v.hear(now, contact{Host: "10.9.0.1"}, spareHello("late"))
	require.NotNil(t, v.others["late"])
	require.Nil(t, v.others["0"], "who was heard longest ago has gone")
	require.Len(t, v.others, mostKnown)
}

func TestLatestIsOneOfEachNameAndServer(t *testing.T) {
	var v view
	old, young := spareHello("1"), spareHello("2")
	old.Name, young.Name = "a", "a"
	v.hear(viewBegan, contact{Host: "10.0.0.1"}, old)
	v.hear(viewBegan.Add(time.Second), contact{Host: "10.0.0.2"}, young)
	require.Len(t, v.latest(), 1)
	require.Equal(t, "2", v.latest()[0].hello.Instance)
	require.Len(t, v.lately(viewBegan.Add(time.Second)), 2, "two that are there are two")
}
