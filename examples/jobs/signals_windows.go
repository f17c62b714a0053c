package main

import (
	"errors"
	"os"
	"syscall"
)

// Windows can kill a process and send it no other signal.
var possible = []fault{kill}

var errNoSignal = errors.New("there is no such signal on Windows")

func terminateProcess(*os.Process) error { return errNoSignal }
func freezeProcess(*os.Process) error    { return errNoSignal }
func thawProcess(*os.Process) error      { return errNoSignal }

func apart() *syscall.SysProcAttr { return nil }
