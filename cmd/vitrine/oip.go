package main

import (
	"net/http"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/front/oiphttp"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/images"
	"github.com/vitrine-project/vitrine/internal/oip/samples"
)

// oipFlags are about the Open Inference Protocol, over HTTP and gRPC.
type oipFlags struct{ samples bool }

func (o *oipFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "Open Inference Protocol", func(fs *pflag.FlagSet) {
		fs.BoolVar(&o.samples, "sample-models", false, "serve the sample models of the protocol's examples too")
	})
	if err := fs.MarkHidden("sample-models"); err != nil {
		panic(err) // defined above
	}
}

// newOIP puts the plant's models, if there is one, and the samples, if they are asked for, behind the
// protocol. Those of the repository are loaded later.
func (s *server) newOIP() (*oip.Server, error) {
	b := &s.o.batch
	var models []oip.Model
	if s.plant != nil {
		models = images.Models(s.plant.images, images.Batching{Preferred: b.preferred, Delay: b.delay, Timeout: b.timeout,
			QueueSize: b.queue, PriorityLevels: b.levels, Instances: s.o.engine.instances, GPUs: gpus(s.plant.devices)})
	}
	if s.o.oip.samples {
		models = append(models, samples.Default()...)
	}
	loader, err := s.newLoader(models)
	if err != nil {
		return nil, err
	}
	registry := oip.NewRegistry(loader)
	if s.o.repository.control != "explicit" {
		registry.ForbidControl()
	}
	if !s.o.repository.strict {
		registry.Lenient()
	}
	for _, m := range models {
		if err := registry.Add(m); err != nil {
			return nil, err
		}
	}
	server := oip.NewServer(registry, s.log)
	server.Regions.Card = s.o.engine.cardMemory()
	return server, nil
}

// gpus are the numbers of the cards among devices.
func gpus(devices []fleet.Device) (numbers []int32) {
	for _, d := range devices {
		if d.GPU != fleet.CPU {
			numbers = append(numbers, int32(d.GPU))
		}
	}
	return numbers
}

// openOIP adds the protocol's routes.
func (s *server) openOIP(mux *http.ServeMux) {
	oiphttp.New(oiphttp.Options{Front: s.front, Server: s.oip, MaxInput: int64(s.o.maxBody)}).Register(mux)
}
