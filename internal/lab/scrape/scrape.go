package scrape

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// Get reads a metrics address once.
func Get(ctx context.Context, client *http.Client, url string) ([]record.Value, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape: %s: HTTP %s", url, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("scrape: %s: %w", url, err)
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("scrape: %s: more than %d bytes", url, maxBytes)
	}
	values, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("scrape: %s: %w", url, err)
	}
	return values, nil
}

// Scraper reads one address during a cell.
type Scraper struct {
	URL    string
	Source string // of the samples: server, dcgm
	Cell   int
	// Clock is nanoseconds since the record began.
	Clock func() int64
	// Write takes each sample; it is called by one goroutine at a time.
	Write func(record.Sample) error
	// Every is the distance of samples; 0 is a second.
	Every time.Duration
	// Client may be nil.
	Client *http.Client

	mu     sync.Mutex
	first  []record.Value
	last   []record.Value
	err    error // the first one
	taken  int
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// timeout of one scrape: a server that is busy is asked again a second later.
const timeout = 5 * time.Second

// Start takes the sample before the cell and goes on each second. Its error is the first scrape's; nothing
// is running then.
func (s *Scraper) Start(ctx context.Context) error {
	if s.Client == nil {
		s.Client = &http.Client{Timeout: timeout}
	}
	if s.Every <= 0 {
		s.Every = time.Second
	}
	if err := s.sample(ctx); err != nil {
		return err
	}
	s.first = s.last
	ctx, s.cancel = context.WithCancel(ctx)
	s.done.Go(func() { s.run(ctx) })
	return nil
}

func (s *Scraper) run(ctx context.Context) {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.sample(ctx); err != nil && ctx.Err() == nil {
				s.fail(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *Scraper) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// sample reads once. Its instant is the middle of the scrape.
func (s *Scraper) sample(ctx context.Context) error {
	before := s.Clock()
	values, err := Get(ctx, s.Client, s.URL)
	if err != nil {
		return err
	}
	at := before + (s.Clock()-before)/2
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = values
	s.taken++
	return s.Write(record.Sample{Cell: s.Cell, At: at, Source: s.Source, Values: values})
}

// Stop ends the sampling and takes the sample after the cell. delta is what changed since Start; n is how
// many samples there are. The error is the first of any scrape.
func (s *Scraper) Stop(ctx context.Context) (delta Delta, n int, err error) {
	s.cancel()
	s.done.Wait()
	if err := s.sample(ctx); err != nil {
		s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Between(s.first, s.last), s.taken, s.err
}
