package main

import (
	"net/http"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/front/oiphttp"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/images"
	"github.com/vitrine-project/vitrine/internal/oip/samples"
)

// oipFlags are about the Open Inference Protocol, over HTTP and gRPC.
type oipFlags struct {
	control string
	samples bool
}

func (o *oipFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "Open Inference Protocol", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewChoice(&o.control, "none", "none", "explicit"), "model-control-mode",
			"explicit lets clients load and unload models")
		fs.BoolVar(&o.samples, "sample-models", false, "serve the sample models of the protocol's examples too")
	})
	if err := fs.MarkHidden("sample-models"); err != nil {
		panic(err) // defined above
	}
}

// newOIP puts the plant's models, and the samples if they are asked for, behind the protocol.
func (s *server) newOIP(p *plant) (*oip.Server, error) {
	b := &s.o.batch
	models := images.Models(p.images, images.Batching{Preferred: b.preferred, Delay: b.delay, Timeout: b.timeout,
		QueueSize: b.queue, PriorityLevels: b.levels, Instances: s.o.engine.instances})
	if s.o.oip.samples {
		models = append(models, samples.Default()...)
	}
	var loader oip.Loader
	if s.o.oip.control == "explicit" {
		loader = oip.Known(models)
	}
	registry := oip.NewRegistry(loader)
	for _, m := range models {
		if err := registry.Add(m); err != nil {
			return nil, err
		}
	}
	return oip.NewServer(registry, s.log), nil
}

// openOIP adds the protocol's routes.
func (s *server) openOIP(mux *http.ServeMux) {
	oiphttp.New(oiphttp.Options{Front: s.front, Server: s.oip, MaxInput: int64(s.o.maxBody)}).Register(mux)
}
