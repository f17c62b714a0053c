//go:build !linux

package discovery

import "net/netip"

// allAddresses leaves it to package net.
func allAddresses() map[int][]netip.Prefix { return nil }
