// Package lan makes networks of machines for tests, of the kernel's namespaces: each host has its own interfaces, and a bridge joins them. No
// command is needed, and no right: a user namespace gives it. Linux only.
package lan
