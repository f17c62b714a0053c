// Package skew moves the clock of a child process while it runs, for tests of what happens when a machine sleeps or its clock is
// set. Only the child sees it: nothing of the system is changed, and no rights are needed.
//
// The child calls [Attach] before it does anything else, and the parent moves the [Clock] that it gave to it. Both of Go's clocks,
// and so all timers, follow at once. Linux on amd64 only: Go reads its clocks there by one function of the kernel's (vDSO), whose
// address it keeps in a variable. Attach puts a function there that calls the kernel's, and adds what the parent says.
package skew
