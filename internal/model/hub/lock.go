package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// errLocked is a lock that another process holds.
var errLocked = errors.New("locked")

// acquire takes the lock that Python's library takes for the same file, and waits for it no longer
// than p.LockWait.
func (p *puller) acquire(ctx context.Context, path, name string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(p.LockWait)
	for {
		err := tryLock(f)
		if err == nil {
			return func() { f.Close() }, nil // closing releases
		}
		if errors.Is(err, errLocked) && time.Now().Before(deadline) {
			err = sleep(ctx, min(100*time.Millisecond, p.LockWait))
		} else if errors.Is(err, errLocked) {
			err = fmt.Errorf("%s: another process has been fetching it for %v (lock %s)", name, p.LockWait, path)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
}
