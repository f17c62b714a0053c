//go:build unix

package main

import (
	"os"
	"syscall"
)

var possible = []fault{terminate, kill, freeze}

func terminateProcess(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
func freezeProcess(p *os.Process) error    { return p.Signal(syscall.SIGSTOP) }
func thawProcess(p *os.Process) error      { return p.Signal(syscall.SIGCONT) }
