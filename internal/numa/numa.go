// Package numa finds the processors near a PCI device and keeps threads on them, so that what they touch
// first lies in memory near the device too. On a machine of one node everything is near and nothing happens.
package numa

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Unknown is the node of a device that the kernel places nowhere, as on machines of one node.
const Unknown = -1

// Place is where a device is attached.
type Place struct {
	Node       int   // Unknown, or the number of the node
	Processors []int // of the node, ascending; none is unknown
}

// Locate finds a PCI device by its address, "0000:3b:00.0" in either case, in a tree such as /sys. A device
// or machine that does not tell has no place: that is no error, since nothing depends on it.
func Locate(sys fs.FS, address string) Place {
	device := path.Join("bus/pci/devices", canonical(address))
	p := Place{Node: Unknown}
	if text, err := fs.ReadFile(sys, path.Join(device, "numa_node")); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n >= 0 {
			p.Node = n
		}
	}
	if text, err := fs.ReadFile(sys, path.Join(device, "local_cpulist")); err == nil {
		p.Processors, _ = parseList(string(text)) // what cannot be read is not known
	}
	return p
}

// Of is where a device of this machine is.
func Of(address string) Place { return Locate(os.DirFS("/sys"), address) }

// canonical is an address as sysfs has it: lower case, a domain of four digits. NVML writes eight.
func canonical(address string) string {
	domain, rest, found := strings.Cut(strings.ToLower(address), ":")
	if !found {
		return domain
	}
	if n := len(domain); n > 4 {
		domain = strings.Repeat("0", max(0, 4-len(strings.TrimLeft(domain, "0")))) + strings.TrimLeft(domain, "0")
	}
	return domain + ":" + rest
}

// most bounds a processor's number: Linux has room for 8192.
const most = 1 << 13

// parseList reads the kernel's list of processors, "0-3,8,10-11".
func parseList(text string) (all []int, err error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	last := -1
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		lo, errLo := strconv.ParseUint(from, 10, 32)
		hi, errHi := strconv.ParseUint(to, 10, 32)
		if errLo != nil || errHi != nil || lo > hi || hi >= most || int(lo) <= last {
			return nil, fmt.Errorf("list of processors %q: %q", text, part)
		}
		for n := lo; n <= hi; n++ {
			all = append(all, int(n))
		}
		last = int(hi)
	}
	return all, nil
}

// String is the place for people: "node 1 (processors 32-63)".
func (p Place) String() string {
	node := "no node"
	if p.Node != Unknown {
		node = "node " + strconv.Itoa(p.Node)
	}
	if len(p.Processors) == 0 {
		return node
	}
	return node + " (processors " + formatList(p.Processors) + ")"
}

// formatList writes processors as the kernel does.
func formatList(all []int) string {
	var parts []string
	for i := 0; i < len(all); {
		j := i
		for j+1 < len(all) && all[j+1] == all[j]+1 {
			j++
		}
		part := strconv.Itoa(all[i])
		if j > i {
			part += "-" + strconv.Itoa(all[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
