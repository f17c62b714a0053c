package discovery

import (
	"encoding/binary"
	"net/netip"
	"syscall"
)

// allAddresses returns the addresses of all interfaces, by index. Package net asks the system for all of them again for each interface, and
// where containers run there may be hundreds; it looks once a second. Nil: ask package net.
func allAddresses() map[int][]netip.Prefix {
	table, err := syscall.NetlinkRIB(syscall.RTM_GETADDR, syscall.AF_UNSPEC)
	if err != nil {
		return nil
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil
	}
	all := map[int][]netip.Prefix{}
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWADDR || len(m.Data) < syscall.SizeofIfAddrmsg {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return nil
		}
		var own netip.Addr
		for _, a := range attributes {
			// Of a line between two, IFA_ADDRESS is the other one's.
			if a.Attr.Type == syscall.IFA_LOCAL || a.Attr.Type == syscall.IFA_ADDRESS && !own.IsValid() {
				own, _ = netip.AddrFromSlice(a.Value)
			}
		}
		index, bits := int(binary.NativeEndian.Uint32(m.Data[4:])), int(m.Data[1]) // of a struct ifaddrmsg
		if prefix := netip.PrefixFrom(own, bits); prefix.IsValid() {
			all[index] = append(all[index], prefix)
		}
	}
	return all
}
