package main

import (
	"errors"
	"os"
	"syscall"
)

// Windows can kill a process and send it no other signal: the story goes without the frozen leader there.
const canFreeze = false

var errNoSignal = errors.New("there is no such signal on Windows")

func freezeProcess(*os.Process) error { return errNoSignal }
func thawProcess(*os.Process) error   { return errNoSignal }

func apart() *syscall.SysProcAttr { return nil }
