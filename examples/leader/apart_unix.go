//go:build unix && !linux

package main

import "syscall"

// apart keeps Ctrl-C from a child. And a process group that is left without a parent in its session, and in which one is frozen,
// is hung up on and thawed by the kernel: so no frozen child outlives this process, however that dies.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
