package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/vectorfile"
)

// embedder turns files into rows, in order, several requests at a time: while one is computed the next
// is read and decoded. What it holds in memory does not grow with the number of files.
type embedder struct {
	model     service.Model
	normalize bool
	chunk     int   // files a request
	inFlight  int   // requests at a time
	maxBytes  int64 // the largest file that is read
}

// answer is one request's rows, or the reason why the run cannot go on.
type answer struct {
	rows []vectorfile.Row
	err  error
}

// run hands the rows of files to sink, chunk after chunk. It stops at the first error that is not one
// file's own fault; the rows handed over until then are whole chunks in order.
func (e *embedder) run(ctx context.Context, files []string, sink func([]vectorfile.Row) error) error {
	ctx, cancel := context.WithCancel(ctx)
	pending := make(chan chan answer, e.inFlight-1)
	defer func() {
		cancel()
		for reply := range pending { // nobody uses the model after run has returned
			<-reply
		}
	}()
	go e.dispatch(ctx, files, pending)
	for reply := range pending {
		a := <-reply
		if a.err != nil {
			return a.err
		}
		if err := sink(a.rows); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// dispatch starts requests; that pending is full bounds how many run: those in it, and the one that
// run waits for.
func (e *embedder) dispatch(ctx context.Context, files []string, pending chan<- chan answer) {
	defer close(pending)
	for len(files) > 0 && ctx.Err() == nil {
		n := min(e.chunk, len(files))
		part, reply := files[:n], make(chan answer, 1)
		files = files[n:]
		select {
		case pending <- reply:
		case <-ctx.Done():
			return
		}
		go func() {
			rows, err := e.embed(ctx, part)
			reply <- answer{rows, err}
		}()
	}
}

// embed makes one request of files. A file that cannot be read is left out of it.
func (e *embedder) embed(ctx context.Context, files []string) ([]vectorfile.Row, error) {
	rows := make([]vectorfile.Row, len(files))
	r := &service.Request{Field: "files", Normalize: e.normalize, Partial: true}
	var at []int // the row of each item
	for i, path := range files {
		rows[i].Path = path
		data, err := readAtMost(path, e.maxBytes)
		if err != nil {
			rows[i].Err = err.Error()
			continue
		}
		r.Items = append(r.Items, service.Item{Kind: service.Encoded, Data: data})
		at = append(at, i)
	}
	if len(r.Items) == 0 {
		return rows, ctx.Err()
	}
	response, err := e.model.Infer(ctx, r)
	if err != nil {
		return nil, err
	}
	for k, result := range response.Results {
		row := &rows[at[k]]
		if result.Err == nil {
			row.Vector = result.Embedding
			continue
		}
		if !ownFault(result.Err) {
			return nil, fmt.Errorf("%s: %w", row.Path, result.Err)
		}
		row.Err = plain(result.Err)
	}
	return rows, ctx.Err()
}

// ownFault tells whether an item failed because of what it is, and would fail again.
func ownFault(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.TooLarge, fault.UnsupportedMedia, fault.Unimplemented:
		return true
	}
	return false
}

// plain is a fault's text without its place in the request, which only this program knows.
func plain(err error) string {
	f := *fault.Of(err)
	f.Field, f.Item = "", -1
	return f.Error()
}

// readAtMost reads a file of up to limit bytes.
func readAtMost(path string, limit int64) ([]byte, error) {
	st, err := os.Stat(path) // before opening: to open a pipe could wait for ever
	switch {
	case err != nil:
		return nil, cause(err)
	case !st.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case st.Size() > limit:
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", st.Size(), limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	data := make([]byte, 0, st.Size()+1)
	for {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, cause(err)
		case int64(len(data)) > limit:
			return nil, fmt.Errorf("more than the limit of %d bytes", limit)
		case len(data) == cap(data):
			data = append(data, 0)[:len(data)]
		}
	}
}

// cause is a file error without the operation and the path, which the row has already.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
