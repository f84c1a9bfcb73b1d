package driver

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Identity is what tells a device from others and where it is. The driver's number does not: it depends
// on CUDA_VISIBLE_DEVICES and on the order that the driver was asked for.
type Identity struct {
	Name string
	UUID string // Info.UUID
	PCI  string // Info.PCI
}

// Identify describes a device without making a context on it.
func Identify(ordinal int) (Identity, error) {
	g, err := find(ordinal)
	if err != nil {
		return Identity{}, err
	}
	return g.identify()
}

func (g *cuda) identify() (Identity, error) {
	var name [256]byte
	var pci [16]byte // domain:bus:device.function and a zero are 13
	err := errors.Join(
		g.check("cuDeviceGetName", g.cuDeviceGetName(&name[0], int32(len(name)), g.device)),
		g.check("cuDeviceGetPCIBusId", g.cuDeviceGetPCIBusId(&pci[0], int32(len(pci)), g.device)),
	)
	i := Identity{Name: untilZero(name[:]), PCI: untilZero(pci[:])}
	var id [16]byte
	if g.cuDeviceGetUuid != nil && g.cuDeviceGetUuid(&id, g.device) == 0 {
		i.UUID = uuid(i.Name, id)
	}
	return i, err
}

func untilZero(text []byte) string {
	before, _, _ := bytes.Cut(text, []byte{0})
	return string(before)
}

// uuid writes an identifier as NVML does. A part of a card has another kind of it, and MIG in its name.
func uuid(name string, b [16]byte) string {
	kind := "GPU"
	if strings.Contains(name, " MIG ") {
		kind = "MIG"
	}
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", kind, b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
