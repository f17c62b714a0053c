//go:build unix

package main

import (
	"os"
	"syscall"
)

const canFreeze = true

func freezeProcess(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }
func thawProcess(p *os.Process) error   { return p.Signal(syscall.SIGCONT) }
