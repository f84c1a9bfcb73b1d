package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// process is a server that the laboratory started. It is the leader of a process group of its own, so
// that whatever it starts ends with it.
type process struct {
	cmd     *exec.Cmd
	began   time.Time
	done    chan struct{}
	failure error // of the process, once done is closed
}

// startProcess runs a command line by sh, its output going to log.
func startProcess(command string, env map[string]string, log io.Writer) (*process, error) {
	c := exec.Command("/bin/sh", "-c", command)
	c.Env = os.Environ()
	for k, v := range env {
		c.Env = append(c.Env, k+"="+v)
	}
	slices.Sort(c.Env)
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.WaitDelay = time.Second // a grandchild that keeps the log open holds nobody up
	p := &process{cmd: c, began: time.Now(), done: make(chan struct{})}
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.failure = c.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop asks the group to end, and after grace makes it. When it returns the group is gone, and with it
// the ports that it listened on.
func (p *process) stop(grace time.Duration) {
	group := p.cmd.Process.Pid
	_ = syscall.Kill(-group, syscall.SIGTERM) // it may have ended already
	gone := waitGone(group, grace)
	if !gone {
		_ = syscall.Kill(-group, syscall.SIGKILL)
		waitGone(group, grace)
	}
	<-p.done
}

// waitGone waits until no process of a group runs.
func waitGone(group int, within time.Duration) bool {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for end := time.Now().Add(within); groupRuns(group); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// pollEvery is the resolution of the time from start to ready.
const pollEvery = 5 * time.Millisecond

// waitReady asks url until it answers with 2xx, and returns when it did. It gives up when the process
// ends (p may be nil), when ctx does, or after within.
func waitReady(ctx context.Context, url string, p *process, within time.Duration) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%s did not say ready within %v", url, within))
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: 2 * time.Second}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var ended chan struct{}
	if p != nil {
		ended = p.done
	}
	for {
		if answers(ctx, &client, url) {
			return time.Now(), nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return time.Time{}, fmt.Errorf("the server ended before it was ready: %w", orExit(p.failure))
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		}
	}
}

func orExit(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) // only the status counts
	resp.Body.Close()
	return resp.StatusCode/100 == 2
}
