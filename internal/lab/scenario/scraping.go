package scenario

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/scrape"
)

// scraping reads a server's metrics during a cell; nil where it has none.
type scraping struct {
	scraper *scrape.Scraper
	started bool
	err     error // of the first scrape
	cards   bool  // the page tells of them
}

// scraped is what a server's metrics said of a cell.
type scraped struct {
	delta   scrape.Delta
	samples int
	err     error
}

// scraper is what will read the cell's server.
func (r *Runner) scraper(ctx context.Context, j *job) *scraping {
	url := r.metricsURL(ctx, j.target)
	if url == "" {
		return nil
	}
	s, seen := &scraping{}, new(sync.Once)
	s.scraper = &scrape.Scraper{URL: url, Source: "server", Cell: j.id, Clock: r.now, Write: func(sample record.Sample) error {
		seen.Do(func() { s.cards = tellsOfCards(sample.Values) })
		return r.Log.Write(sample)
	}}
	return s
}

// start begins to read, after the warm-up: its requests are in no mean of the counters.
func (s *scraping) start(ctx context.Context) {
	if s == nil {
		return
	}
	s.err = s.scraper.Start(ctx)
	s.started = s.err == nil
}

// tells of cards, as the first scrape found.
func (s *scraping) tells() bool { return s != nil && s.cards }

// lastScrapeWithin bounds the scrape after a cell, which is taken even if the cell was interrupted.
const lastScrapeWithin = 5 * time.Second

func (s *scraping) stop() (out scraped) {
	if s == nil {
		return out
	}
	if !s.started {
		out.err = s.err
		return out
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastScrapeWithin)
	defer cancel()
	out.delta, out.samples, out.err = s.scraper.Stop(ctx)
	return out
}

// check compares the server's count of successful requests with the client's. Servers count an answer after
// it was sent: the last of each connection may be missing, the last of its warm-up be too many. And the
// server may have answered requests that the client had given up.
func (s scraped) check(m measuredLoad) []record.Check {
	counted, ok := s.delta.Inference("")
	if !ok {
		return nil
	}
	want := float64(m.OK)
	missing, more := want-counted.Requests, counted.Requests-want
	return []record.Check{{Name: "server_requests", Want: want, Got: counted.Requests,
		OK: missing <= float64(m.Workers) && more <= float64(m.Failed+m.ledger.lastWarm())}}
}

// warnings are what a reader should know of the scrapes.
func (s scraped) warnings() []string {
	if s.err == nil {
		return nil
	}
	return []string{fmt.Sprintf("metrics: %v", s.err)}
}
