//go:build !amd64

package driver

import (
	"runtime"
	"unsafe"
)

// openShared is cuIpcOpenMemHandle(CUdeviceptr *, CUipcMemHandle, unsigned). On 64-bit Arm a struct of more than
// 16 bytes is passed as the address of a copy (AAPCS64 6.8.2, B.4).
type openShared func(p *Pointer, copied unsafe.Pointer, flags uint32) Code

func (open openShared) call(p *Pointer, h *SharedHandle, flags uint32) Code {
	copied := *h
	c := open(p, unsafe.Pointer(&copied), flags)
	runtime.KeepAlive(&copied)
	return c
}
