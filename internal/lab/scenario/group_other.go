//go:build !linux

package scenario

import "syscall"

// groupRuns tells whether a process of a group is there.
func groupRuns(group int) bool { return syscall.Kill(-group, 0) == nil }
