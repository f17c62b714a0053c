package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// report is the name of the file.
const report = "report.txt"

// entry is a line as the fence has accepted or refused it.
type entry struct {
	token uint64
	text  string
	at    time.Time
}

func (e entry) node() string {
	node, _, _ := strings.Cut(e.text, ",")
	return node
}

// last tells who wrote last, in which term, and when that term's first line was written.
func (f *fence) last() (node string, token uint64, began time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.accepted {
		if e.token != token {
			node, token, began = e.node(), e.token, e.at
		}
	}
	return node, token, began
}

// linesOfLast is how many lines the newest term has.
func (f *fence) linesOfLast() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, e := range f.accepted {
		if e.token == f.largest {
			n++
		}
	}
	return n
}

// lastOf is when the last line of a term was written.
func (f *fence) lastOf(token uint64) (at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.accepted {
		if e.token == token {
			at = e.at
		}
	}
	return at
}

// fate tells what became of the late line of a term.
func (f *fence) fate(token uint64) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.refused {
		if e.token == token {
			return "refused"
		}
	}
	return "written"
}

// print looks at the file as somebody does who has nothing but the file, and tells what is in it.
func (f *fence) print(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	var lines, terms int
	var largest uint64
	writers := map[uint64]string{}
	for in := bufio.NewScanner(file); in.Scan(); lines++ {
		var token uint64
		var node string
		if _, err := fmt.Sscan(in.Text(), &token, &node); err != nil {
			return fmt.Errorf("the file has %q: %w", in.Text(), err)
		}
		switch writer := writers[token]; {
		case token < largest:
			return fmt.Errorf("the file has %q behind a line of the token %d", in.Text(), largest)
		case writer != "" && writer != node:
			return fmt.Errorf("%s and %s wrote with one token: %d", writer, node, token)
		case writer == "":
			terms++
		}
		writers[token], largest = node, token
	}
	if _, err := fmt.Printf("\n%d lines of %d terms: each term's stand together, and the tokens only grew;\n", lines, terms); err != nil {
		return err
	}
	late := len(f.refused)
	if _, err := fmt.Printf("%d came late, and is not among them\n", late); err != nil {
		return err
	}
	if canFreeze && late != 1 {
		return errors.New("one was to come late")
	}
	return nil
}
