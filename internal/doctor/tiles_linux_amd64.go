package doctor

import "golang.org/x/sys/unix"

// Linux' arch_prctl and the number of AMX' tile data among the processor's state components.
const (
	archRequestPermission = 0x1023
	tileData              = 18
)

// requestTiles asks for the permission to use AMX' tiles, which a process keeps.
func requestTiles() error {
	if _, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, archRequestPermission, tileData, 0); errno != 0 {
		return errno
	}
	return nil
}
