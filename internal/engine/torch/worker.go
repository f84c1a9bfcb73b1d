package torch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// worker is a process that computes. One order is under way at a time.
type worker struct {
	cmd    *exec.Cmd
	conn   net.Conn
	lines  *bufio.Scanner
	output *output
	exited chan struct{}
	err    error       // how it ended, once exited is closed
	loaded atomic.Bool // it has the model
	served atomic.Bool // it has answered a batch
}

// newWorker starts the process that cmd describes; theirs is its end of the connection.
func newWorker(cmd *exec.Cmd, ours, theirs *os.File, out *output) (*worker, error) {
	defer theirs.Close()
	defer ours.Close() // net.FileConn has its own
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(explainStart(cmd, err), conn.Close())
	}
	w := &worker{cmd: cmd, conn: conn, lines: bufio.NewScanner(conn), output: out, exited: make(chan struct{})}
	w.lines.Buffer(nil, maxLine)
	go func() {
		w.err = cmd.Wait()
		killGroup(cmd.Process.Pid) // compilers that it left behind
		_ = conn.Close()           // only what was read counts
		close(w.exited)
	}()
	return w, nil
}

func explainStart(cmd *exec.Cmd, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no Python interpreter %s: name one that has torch with --torch-python, or on Debian: apt-get install python3", cmd.Path)
	}
	return err
}

func (w *worker) alive() bool {
	select {
	case <-w.exited:
		return false
	default:
		return true
	}
}

// fate says how the process ended.
func (w *worker) fate() string {
	<-w.exited
	if w.err == nil {
		return "exit status 0"
	}
	return w.err.Error()
}

var errSilent = errors.New("no answer in time")

// exchange sends an order and reads its answer. After an error the worker has ended.
func (w *worker) exchange(order any, within time.Duration) (a answer, err error) {
	defer func() {
		if err != nil {
			w.kill()
			<-w.exited
		}
	}()
	line, err := json.Marshal(order)
	if err != nil {
		return a, err
	}
	if err := w.conn.SetDeadline(time.Now().Add(within)); err != nil {
		return a, w.ended(err)
	}
	if _, err := w.conn.Write(append(line, '\n')); err != nil {
		return a, w.ended(err)
	}
	if !w.lines.Scan() {
		return a, w.ended(w.lines.Err())
	}
	return parseAnswer(w.lines.Bytes())
}

// endsWithin is how long a process may take from closing its connection to its end.
const endsWithin = 3 * time.Second

// ended explains an error of the connection: nil is its end.
func (w *worker) ended(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSilent
	}
	select {
	case <-w.exited:
		return fmt.Errorf("the process ended: %s", w.fate())
	case <-time.After(endsWithin):
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// computed is a batch's result.
type computed struct {
	answer
	err error
}

// compute has a batch computed, within bounds.
func (w *worker) compute(order runOrder, within time.Duration) computed {
	a, err := w.exchange(order, within)
	switch {
	case errors.Is(err, errSilent):
		err = fault.New(fault.Timeout, "the PyTorch worker did not finish the batch within %v and was ended", within)
	case err != nil:
		err = fault.Wrap(fault.Internal, err, "the PyTorch worker died while it computed the batch")
	case !a.OK:
		err = a.fault()
		if a.Kind == lostDevice {
			w.kill()
			<-w.exited // the next batch is another worker's
			break
		}
		w.served.Store(true)
	default:
		w.served.Store(true)
	}
	return computed{a, err}
}

// end lets the worker finish by itself, for a while.
func (w *worker) end() {
	_ = w.conn.Close() // the worker's sign to go
	select {
	case <-w.exited:
	case <-time.After(endsWithin):
		w.kill()
		<-w.exited
	}
}

// kill ends the worker and whatever it started.
func (w *worker) kill() { killGroup(w.cmd.Process.Pid) }
