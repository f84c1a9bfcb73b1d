package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/cli"
)

// check refuses values that a flag's type lets through, before anything slow begins.
func (o *serveOptions) check() error {
	b := &o.batch
	most := cmp.Or(o.engine.maxBatch, largestBatch) // what the engine prefers, it says when it is there
	outside := func(n int) bool { return n < 1 || n > most }
	for _, c := range []struct {
		flag string
		good bool
		want string
	}{
		{"preferred-batch-size", !slices.ContainsFunc(b.preferred, outside), fmt.Sprintf("sizes from 1 to --max-batch-size, which is at most %d", most)},
		{"max-queue-delay", b.delay >= 0, "no negative time"},
		{"timeout", b.timeout >= 0, "no negative time"},
		{"max-body", o.maxBody > 0, "at least a byte"},
		{"body-memory", o.bodyMemory >= o.maxBody, fmt.Sprintf("at least --max-body, which is %d", int64(o.maxBody))},
		{"grpc-max-message-size", o.grpc.maxMessage > 0, "at least a byte"},
		{"grpc-message-memory", o.grpc.memory >= o.grpc.maxMessage, fmt.Sprintf("at least --grpc-max-message-size, which is %d", int64(o.grpc.maxMessage))},
		{"body-timeout", o.bodyTimeout > 0, "a time above 0"},
		{"request-timeout", o.requestTimeout > 0, "a time above 0"},
		{"drain-delay", o.drainDelay >= 0, "no negative time"},
		{"drain-timeout", o.drainTimeout >= 0, "no negative time"},
	} {
		if !c.good {
			return cli.Usage{Err: fmt.Errorf("--%s: want %s", c.flag, c.want)}
		}
	}
	return o.repository.check()
}

// checkEmbedModel refuses a name of --embed-model that answers nothing. Where models may come later it
// is only said.
func (s *server) checkEmbedModel(ctx context.Context) error {
	name := s.o.repository.embed
	if name == "" {
		return nil
	}
	m, done, err := s.oip.Models.Use(name, "")
	if err == nil {
		defer done()
		if _, ok := m.(imageModel); !ok {
			return cli.Usage{Err: fmt.Errorf("--embed-model: model '%s' embeds no images", name)}
		}
		return nil
	}
	var all []string
	for _, e := range s.oip.Models.Index(false) {
		all = append(all, e.Name)
	}
	if all = slices.Compact(all); s.o.repository.control == "none" && !slices.Contains(all, name) {
		return cli.Usage{Err: fmt.Errorf("--embed-model: there is no model '%s', only %s", name, strings.Join(all, ", "))}
	}
	s.log.WarnContext(ctx, "the model of --embed-model is not there yet: /embed and /v1/embeddings answer 503", "model", name)
	return nil
}
