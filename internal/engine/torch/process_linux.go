package torch

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// startWorker starts a Python that runs control, with the connection, the shared memory and the weights as
// its files 3, 4 and 5. The calling thread's end is the worker's.
func startWorker(o Options, number int, shared, weights *os.File) (*worker, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control of the worker")
	out := &output{log: o.Logger.With("worker", number)}
	cmd := exec.Command(o.Python, "-c", control)
	cmd.ExtraFiles = []*os.File{theirs, shared, weights}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1", "PYTHONSAFEPATH=1", "KINETO_LOG_LEVEL=99") // the profiler announces each start
	cmd.WaitDelay = endsWithin                                                                      // for what a compiler that outlives the worker still writes
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return newWorker(cmd, ours, theirs, out)
}

// killGroup ends a worker's process group. One that has ended already is no error.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// memoryFile is a file without a name that lies in memory.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// mapShared makes f size bytes long and maps it.
func mapShared(f *os.File, size int) ([]byte, error) {
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return memory, nil
}

func unmap(memory []byte) error { return unix.Munmap(memory) }
