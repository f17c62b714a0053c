package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// fence is a file that refuses old tokens. It takes a line with the token of the term in which the writer wrote it, and remembers the
// largest: who comes with a smaller one had a term that is over, whether he knows it or not.
//
// Nobody but the one who keeps the file can do that: he sees the writes in an order, and it is his file's. Here that is the process of
// the story, and the leaders reach it by HTTP; elsewhere it is a database, or whatever stores what the leader makes. docs/EXCLUSIVE.md has more of
// them.
type fence struct {
	mu                sync.Mutex
	file              *os.File
	largest           uint64
	accepted, refused []entry // for the story
}

var errOldToken = errors.New("a later term has written already")

// openFence finds the largest token in what the file has: a fence that forgot it when it is restarted would be open for that moment.
func openFence(name string) (*fence, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f := &fence{file: file}
	for in := bufio.NewScanner(file); in.Scan(); {
		var token uint64
		if _, err := fmt.Sscan(in.Text(), &token); err == nil {
			f.largest = max(f.largest, token)
		}
	}
	return f, nil
}

// add adds a line, unless the token is an old one. The look and the write are one step: nothing comes between them.
func (f *fence) add(token uint64, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token < f.largest {
		f.refused = append(f.refused, entry{token, text, time.Now()})
		return errOldToken
	}
	f.largest = token
	f.accepted = append(f.accepted, entry{token, text, time.Now()})
	_, err := fmt.Fprintln(f.file, token, text)
	return err
}

// ServeHTTP is how others write: POST /?token=17&text=hello
func (f *fence) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, err := strconv.ParseUint(r.FormValue("token"), 10, 64)
	if err != nil {
		http.Error(w, "a number is needed as token", http.StatusBadRequest)
		return
	}
	switch err := f.add(token, r.FormValue("text")); {
	case errors.Is(err, errOldToken):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
