package scenario

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/scrape"
)

// watching is what is sampled during a cell: the server's metrics, those of its cards where they have an address of
// their own, and else this machine's cards. A card has one source: two would be added up.
type watching struct {
	runner          *Runner
	job             *job
	server, devices *scraping
	cards           *cardSampling
}

// watch finds what there is to sample. Nothing is read yet, but to find the server's metrics.
func (r *Runner) watch(ctx context.Context, j *job) *watching {
	w := &watching{runner: r, job: j}
	if url := r.deviceURL(j.target); url != "" {
		w.devices = r.scraping(j, url, "dcgm", scrape.Cards)
	}
	if url := r.metricsURL(ctx, j.target); url != "" {
		keep := func(page []record.Value) []record.Value { return page }
		if w.devices != nil {
			keep = scrape.WithoutCards
		}
		w.server = r.scraping(j, url, "server", keep)
	}
	return w
}

// deviceURL is where the cards of a target have their metrics, or "".
func (r *Runner) deviceURL(t *plan.Target) string {
	if v := r.Study.Server(t.Server); v != nil {
		return cmp.Or(t.DeviceMetrics, v.DeviceMetrics)
	}
	return t.DeviceMetrics
}

// start begins to read, after the warm-up: its requests are in no mean of the counters.
func (w *watching) start(ctx context.Context) {
	w.server.start(ctx)
	w.devices.start(ctx)
	w.cards = w.runner.sampleCards(w.job, w.devices != nil || w.server.tells())
}

// nothing tells that there is nothing to sample; start has been called.
func (w *watching) nothing() bool { return w.server == nil && w.devices == nil && w.cards == nil }

// stop takes the samples after the cell.
func (w *watching) stop() scraped {
	w.cards.stop()
	out, devices := w.server.stop(), w.devices.stop()
	out.samples += devices.samples
	out.devicesErr = devices.err
	if w.devices.silent() && devices.err == nil {
		out.devicesErr = fmt.Errorf("%s tells of no card: DCGM_FI_DEV_* or nv_gpu_* were looked for", w.devices.scraper.URL)
	}
	return out
}

// scraping reads a page during a cell; nil reads none.
type scraping struct {
	scraper *scrape.Scraper
	started bool
	err     error // of the first scrape
	cards   bool  // the first scrape tells of them
}

// scraped is what pages said of a cell.
type scraped struct {
	delta           scrape.Delta // of the server's
	samples         int
	err, devicesErr error
}

// scraping is what will read a page; keep is what goes to the record.
func (r *Runner) scraping(j *job, url, source string, keep func([]record.Value) []record.Value) *scraping {
	s, first := &scraping{}, new(sync.Once)
	s.scraper = &scrape.Scraper{URL: url, Source: source, Cell: j.id, Clock: r.now, Write: func(sample record.Sample) error {
		first.Do(func() { s.cards = scrape.TellsOfCards(sample.Values) })
		sample.Values = keep(sample.Values)
		return r.Log.Write(sample)
	}}
	return s
}

func (s *scraping) start(ctx context.Context) {
	if s == nil {
		return
	}
	s.err = s.scraper.Start(ctx)
	s.started = s.err == nil
}

// tells of cards; start has been called.
func (s *scraping) tells() bool { return s != nil && s.cards }

// silent is a page that was read and told of no card.
func (s *scraping) silent() bool { return s != nil && s.started && !s.cards }

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
func (s scraped) warnings() (all []string) {
	if s.err != nil {
		all = append(all, fmt.Sprintf("metrics: %v", s.err))
	}
	if s.devicesErr != nil {
		all = append(all, fmt.Sprintf("metrics of the cards: %v", s.devicesErr))
	}
	return all
}
