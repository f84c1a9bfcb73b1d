package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/model/hub"
	"github.com/vitrine-project/vitrine/internal/preproc"
)

// open opens the weights that the flags name; a download shows itself on progress, or in the log where
// that is nil.
func (m *modelFlags) open(ctx context.Context, log *slog.Logger, progress *os.File) (*model.Model, error) {
	began := time.Now()
	report, done := loggedProgress(log), func() {}
	if progress != nil {
		report, done = pullProgress(progress)
	}
	loaded, err := model.Open(ctx, m.full(), model.OpenOptions{
		Hub: hub.PullOptions{Progress: report}, ModelName: m.name, Pretrained: m.tag, Preprocessing: m.preprocessing,
	})
	done()
	if err != nil {
		return nil, explainModel(err)
	}
	for _, w := range loaded.Warnings {
		log.Warn(w, "reference", loaded.Source.Reference)
	}
	phase(log, "model", began, "reference", loaded.Source.Reference, "path", loaded.Source.Path, "parameters", loaded.Parameters())
	return loaded, nil
}

// full is the reference with the options that stand in flags of their own.
func (m *modelFlags) full() string {
	if !m.synthetic() || m.seed == 0 && !m.outliers {
		return m.reference
	}
	q := url.Values{}
	if m.seed != 0 {
		q.Set("seed", strconv.FormatUint(m.seed, 10))
	}
	if m.outliers {
		q.Set("outliers", "1")
	}
	separator := "?"
	if strings.Contains(m.reference, "?") {
		separator = "&"
	}
	return m.reference + separator + q.Encode()
}

func (m *modelFlags) synthetic() bool {
	rest, ok := strings.CutPrefix(m.reference, model.SyntheticReference)
	return ok && (rest == "" || rest[0] == ':' || rest[0] == '?')
}

// explainModel says what can be done about a model that cannot be had.
func explainModel(err error) error {
	switch {
	case errors.Is(err, model.ErrNoNetwork):
		return fmt.Errorf("%w; name a folder with --model, or --model synthetic to see Vitrine work with weights without meaning", err)
	case errors.Is(err, hub.ErrDenied):
		return fmt.Errorf("%w; for a private or gated model set HF_TOKEN", err)
	}
	return err
}

// pullProgress returns what a download reports to, a bar for each file, and what ends the last one.
func pullProgress(f *os.File) (report func(file string, done, total int64), end func()) {
	var bar *cli.Progress
	var current string
	end = func() {
		if bar != nil {
			bar.Finish()
			bar = nil
		}
	}
	return func(file string, done, total int64) {
		if bar == nil || file != current {
			end()
			current, bar = file, cli.NewProgress(f, file, cli.ByteCount, total, done)
		}
		bar.Set(done, total)
	}, end
}

// loggedProgress returns what a download reports to where nobody watches: a line at the start of each
// file, every ten seconds, and at its end.
func loggedProgress(log *slog.Logger) func(file string, done, total int64) {
	var current string
	var last time.Time
	return func(file string, done, total int64) {
		if file == current && done < total && time.Since(last) < 10*time.Second {
			return
		}
		current, last = file, time.Now()
		log.Info("download", "file", file, "bytes", done, "of", total)
	}
}

// spaces are the space ids of a model by precision.
func spaces(m *model.Model, plan preproc.Plan) map[string]string {
	ids := map[string]string{}
	for _, p := range []engine.Precision{engine.FP32, engine.FP16, engine.BF16} {
		ids[string(p)] = model.SpaceID(plan.Hash(), m.WeightsHash, string(p))
	}
	return ids
}

func runPull(ctx context.Context, m *modelFlags, std streams) error {
	if m.synthetic() {
		return cli.Usage{Err: errors.New("synthetic weights are made, not downloaded")}
	}
	if st, err := os.Stat(m.reference); err == nil && st.IsDir() {
		return cli.Usage{Err: fmt.Errorf("%s is a folder on this machine already", m.reference)}
	}
	report, done := pullProgress(std.err)
	dir, err := model.Pull(ctx, m.reference, hub.PullOptions{Progress: report})
	done()
	if err != nil {
		return explainModel(err)
	}
	fmt.Fprintln(std.out, dir)
	return nil
}
