package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stall is how long a transfer may bring nothing before it is cut and resumed.
const stall = 30 * time.Second

// fetch makes a file's blob present and links it into the snapshot.
func (p *puller) fetch(ctx context.Context, name string, meta metadata) error {
	if p.cache.has(meta) {
		p.report(name, meta.size, meta.size)
		return p.cache.link(p.commit, name, meta.etag)
	}
	unlock, err := p.acquire(ctx, p.cache.lock(meta.etag), name)
	if err != nil {
		return err
	}
	defer unlock()
	if !p.cache.has(meta) { // another process may have fetched it meanwhile
		if err := p.download(ctx, name, meta); err != nil {
			return err
		}
	}
	return p.cache.link(p.commit, name, meta.etag)
}

func (c cache) has(meta metadata) bool {
	info, err := os.Stat(c.blob(meta.etag))
	return err == nil && info.Size() == meta.size
}

func (p *puller) report(name string, done, total int64) {
	if p.Progress != nil {
		p.Progress(name, done, total)
	}
}

// download fetches into <blob>.incomplete, verifies and renames. Content with a wrong hash is thrown
// away; if a part of it came from an earlier download, it is fetched once more from the start.
func (p *puller) download(ctx context.Context, name string, meta metadata) error {
	blob := p.cache.blob(meta.etag)
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return err
	}
	part := blob + ".incomplete"
	info, err := os.Stat(part)
	resumed := err == nil && info.Size() > 0
	for {
		if err := p.transfer(ctx, name, part, meta); err != nil {
			return err
		}
		err := verify(part, meta)
		if err == nil {
			return os.Rename(part, blob)
		}
		if errRemove := os.Remove(part); errRemove != nil || !resumed {
			return errors.Join(fmt.Errorf("%s: %w", name, err), errRemove)
		}
		resumed = false
	}
}

// transfer appends to part until it has meta.size bytes, resuming where a connection broke. It gives
// up after several attempts in a row that brought nothing.
func (p *puller) transfer(ctx context.Context, name, part string, meta metadata) error {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	done, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	pause := p.Backoff
	for failed := 0; done != meta.size; {
		if done > meta.size { // of another file, or written by a broken server
			done = 0
		}
		before := done
		var again bool
		done, again, err = p.get(ctx, f, name, done, meta)
		if err == nil {
			continue
		}
		if failed++; done > before {
			failed, pause = 1, p.Backoff
		}
		if ctx.Err() != nil || !again || failed == attempts {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
	return errors.Join(f.Truncate(meta.size), f.Sync())
}

// get appends one answer's body to f at offset and returns how much of the file there is now.
func (p *puller) get(ctx context.Context, f *os.File, name string, offset int64, meta metadata) (done int64, again bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := p.request(ctx, http.MethodGet, p.url(name))
	if err != nil {
		return offset, false, err
	}
	if offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	watchdog := time.AfterFunc(stall, func() { cancel(errors.New("the transfer stalled")) })
	defer watchdog.Stop()
	resp, err := p.client.Do(r)
	if err != nil {
		return offset, true, err
	}
	defer resp.Body.Close()
	if again, err := p.refused(name, resp); err != nil && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		return offset, again, err
	}
	if offset > 0 && !continues(resp, offset) {
		offset = 0 // the server sends the whole file, or has no such part of it
		if resp.StatusCode != http.StatusOK {
			return 0, true, fmt.Errorf("the range was not answered (%s)", resp.Status)
		}
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return offset, false, err
	}
	w := &progressWriter{f: f, p: p, name: name, done: offset, total: meta.size, watchdog: watchdog}
	// One byte more than is due shows a server that sends another file.
	_, err = io.Copy(w, io.LimitReader(resp.Body, meta.size-offset+1))
	switch {
	case w.err != nil:
		return w.done, false, w.err
	case w.done > meta.size:
		return w.done, false, fmt.Errorf("%w: more than the announced %d bytes", ErrCorrupt, meta.size)
	case err == nil && w.done < meta.size:
		err = io.ErrUnexpectedEOF
	}
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return w.done, true, err
}

// continues tells whether an answer starts at offset.
func continues(resp *http.Response, offset int64) bool {
	from, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes ")
	from, _, dash := strings.Cut(from, "-")
	n, err := strconv.ParseInt(from, 10, 64)
	return ok && dash && err == nil && n == offset && resp.StatusCode == http.StatusPartialContent
}

// progressWriter writes to the file and tells of it. A failed write is kept apart from a failed read:
// trying again helps the one only.
type progressWriter struct {
	f           *os.File
	p           *puller
	name        string
	done, total int64
	watchdog    *time.Timer
	err         error
}

func (w *progressWriter) Write(b []byte) (int, error) {
	n, err := w.f.Write(b)
	w.done += int64(n)
	w.err = err
	w.watchdog.Reset(stall)
	w.p.report(w.name, w.done, w.total)
	return n, err
}

// verify compares a file with its ETag where that is a hash: SHA-256 for large files, git's blob hash
// for small ones.
func verify(path string, meta metadata) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sums := hashesLike(meta)
	if len(sums) == 0 {
		return nil
	}
	all := make([]io.Writer, len(sums))
	for i, h := range sums {
		all[i] = h
	}
	if _, err := io.Copy(io.MultiWriter(all...), f); err != nil {
		return err
	}
	got := ""
	for _, h := range sums {
		if got = hex.EncodeToString(h.Sum(nil)); got == strings.ToLower(meta.etag) {
			return nil
		}
	}
	return fmt.Errorf("%w: hash %s, the hub announced %s", ErrCorrupt, got, meta.etag)
}

// hashesLike are the hashes that an ETag of this form may be. SHA-1 finds accidents, not malice; some
// mirrors announce the content's instead of git's.
func hashesLike(meta metadata) []hash.Hash {
	switch {
	case !isHex(meta.etag):
	case len(meta.etag) == 2*sha256.Size:
		return []hash.Hash{sha256.New()}
	case len(meta.etag) == 2*sha1.Size:
		git := sha1.New()
		fmt.Fprintf(git, "blob %d\x00", meta.size)
		return []hash.Hash{git, sha1.New()}
	}
	return nil
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil
}
