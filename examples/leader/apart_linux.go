package main

import "syscall"

// apart keeps Ctrl-C from a child. And it ends one that is frozen when this process is killed, and cannot thaw it any more.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
