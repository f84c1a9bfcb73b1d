//go:build unix

package door

import (
	"io/fs"
	"syscall"
)

// inode tells a file from one that was put in its place with the same size and time.
func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
