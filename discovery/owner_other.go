//go:build !unix

package discovery

import "io/fs"

// Each user has a temporary directory of his own there, and others no right to it.

func ours(fs.FileInfo) bool         { return true }
func openToOthers(fs.FileInfo) bool { return false }
func linked(fs.FileInfo) bool       { return false }
func temporaryName() string         { return "rolebus" }
