package driver

import (
	"encoding/binary"
	"runtime"
)

// openShared is cuIpcOpenMemHandle(CUdeviceptr *, CUipcMemHandle, unsigned), which takes its 64-byte struct by value.
// On x86-64 such a struct lies on the stack whatever its place among the parameters, and takes no register
// (System V ABI 3.2.3, class MEMORY): the four integer registers that are left are filled with nothing.
type openShared func(p *Pointer, flags uint32, _, _, _, _, h0, h1, h2, h3, h4, h5, h6, h7 uint64) Code

func (open openShared) call(p *Pointer, h *SharedHandle, flags uint32) Code {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(h[8*i:]) }
	c := open(p, flags, 0, 0, 0, 0, word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7))
	runtime.KeepAlive(p)
	return c
}
