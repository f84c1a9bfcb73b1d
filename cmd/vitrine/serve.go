package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/embedapi"
	"github.com/vitrine-project/vitrine/internal/front/oiphttp"
	"github.com/vitrine-project/vitrine/internal/front/ops"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/disk"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// serveOptions are the flags of `vitrine serve`.
type serveOptions struct {
	http, metrics  string
	space          string
	model          modelFlags
	engine         engineFlags
	devices        deviceFlags
	image          imageFlags
	batch          batchFlags
	oip            oipFlags
	repository     repositoryFlags
	grpc           grpcFlags
	door           doorFlags
	log            logFlags
	accessLog      bool
	pprof          bool
	sampleEvery    int // milliseconds, of GPUs
	maxBody        cli.Bytes
	bodyMemory     cli.Bytes
	maxImages      int
	bodyTimeout    time.Duration
	requestTimeout time.Duration
	drainDelay     time.Duration
	drainTimeout   time.Duration
}

func serveCommand(std streams) *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer image requests over HTTP and gRPC",
		Long: `Serve answers on --http:
  POST /embed           one image as the body
  POST /embed/base64    {"images": ["<base64 or data URI>", ...]}, as the FastAPI service does
  POST /embed/batch     multipart form, field files
  POST /v1/embeddings   OpenAI's shape, images as data URIs
  POST /v2/models/MODEL/infer and the other routes of the Open Inference Protocol, as Triton has them
  GET  /healthz, /readyz, /model-info, /gpu-info, /v1/models
on --grpc the same protocol's gRPC service (inference.GRPCInferenceService, grpc.health.v1, reflection),
and on --metrics: /metrics for Prometheus, /healthz, /readyz.

With --model-repository it serves the models of folders in Triton's layout; /embed and /v1/embeddings
then answer for the one that embeds images, or for --embed-model's.

It listens on loopback unless told otherwise. With no network, no --model and only loopback addresses it
falls back to synthetic weights, and says so; on other addresses a model that cannot be had is an error.

SIGTERM or SIGINT: /readyz says no, after --drain-delay no connection is accepted any more, what was
accepted is answered within --drain-timeout, exit code 0. A request that has not wholly arrived within
half of --drain-timeout, at most 5 s, is refused with 503 (gRPC: UNAVAILABLE). A second signal stops at
once.`,
		Example: `  vitrine serve
  vitrine serve --model ./my-clip --http 0.0.0.0:8000 --metrics 0.0.0.0:8002
  vitrine serve --model-repository ./models --model-control-mode poll
  VITRINE_PRECISION=fp32 vitrine serve --config vitrine.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.model.given = cmd.Flags().Changed("model")
			return runServe(cmd.Context(), &o, std)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	o.define(fs)
	completeValues(c)
	return c
}

func (o *serveOptions) define(fs *pflag.FlagSet) {
	o.maxBody, o.bodyMemory = 64<<20, 1<<30
	cli.Group(fs, "Addresses", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.http, "http", "127.0.0.1:8000", "`ADDRESS` of the API; port 0 picks a free one and prints it")
		fs.StringVar(&o.grpc.address, "grpc", "127.0.0.1:8001", "`ADDRESS` of the Open Inference Protocol's gRPC service; off for none")
		fs.StringVar(&o.metrics, "metrics", "127.0.0.1:8002", "`ADDRESS` of metrics and health; off for none")
		fs.Var(cli.NewCount(&o.sampleEvery, 2000, 1, 1<<30), "metrics-interval-ms", "`milliseconds` between two readings of the GPUs, as in Triton; "+
			"they are read only while /metrics or /gpu-info is asked for")
		fs.BoolVar(&o.pprof, "pprof", false, "Go's profiles under /debug/pprof/ on the metrics address")
	})
	o.model.define(fs)
	cli.Group(fs, "Model", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.space, "space", "", "`ID` of the vector space that is wanted; a server that would make vectors of another does not start")
	})
	o.engine.define(fs)
	o.devices.define(fs)
	o.batch.define(fs)
	o.image.define(fs)
	o.repository.define(fs)
	o.oip.define(fs)
	o.grpc.define(fs)
	o.door.define(fs)
	cli.Group(fs, "Requests", func(fs *pflag.FlagSet) {
		fs.Var(&o.maxBody, "max-body", "`bytes` of the largest request body, also after decompression; larger ones get 413 (/v2: 400)")
		fs.Var(&o.bodyMemory, "body-memory", "`bytes` of all request bodies held at once; more get 429 (/v2: 503)")
		fs.Var(cli.NewCount(&o.maxImages, 1024, 1, 1<<20), "max-images", "`images` of one request to /embed and /v1/embeddings; requests to /v2 hold at most one batch")
		fs.DurationVar(&o.bodyTimeout, "body-timeout", 30*time.Second, "longest `time` for a body to arrive over HTTP, then 408 (/v2: 503)")
		fs.DurationVar(&o.requestTimeout, "request-timeout", time.Minute, "longest `time` from a request's first byte (gRPC: its last) to its answer, then 504 (/v2: 503, gRPC: UNAVAILABLE)")
	})
	cli.Group(fs, "Shutdown", func(fs *pflag.FlagSet) {
		fs.DurationVar(&o.drainDelay, "drain-delay", 0, "`time` between saying not ready and closing the door, for load balancers to notice")
		fs.DurationVar(&o.drainTimeout, "drain-timeout", 30*time.Second, "longest `time` for accepted requests to be answered, then exit code 1; those that still arrive get half of it, at most 5 s")
	})
	o.log.define(fs, "info")
	cli.Group(fs, "Log (on standard error)", func(fs *pflag.FlagSet) {
		fs.BoolVar(&o.accessLog, "access-log", true, "one line a request, but for probes: at info, at warn where the server could not take it, at error where the server failed")
	})
}

// server is a running `vitrine serve`.
type server struct {
	o       *serveOptions
	log     *slog.Logger
	logs    *logSwitch
	doors   *doors
	data    *door
	admin   *door     // nil if off
	grpc    *grpcDoor // nil if off
	front   *front.Front
	metrics *telemetry.Metrics
	ops     *ops.Ops
	budget  *service.Budget
	plant   *plant           // --model's; nil where only a repository is served
	stored  *disk.Repository // nil without --model-repository
	keeper  *disk.Keeper     // nil likewise
	polled  chan struct{}    // closed when polling has ended; nil where nothing polls
	oip     *oip.Server      // nil while the model loads
	began   time.Time
}

func runServe(ctx context.Context, o *serveOptions, std streams) error {
	if err := o.check(); err != nil {
		return err
	}
	log, logs := o.log.switchable(std.err)
	s, err := newServer(o, log)
	if err != nil {
		return err
	}
	s.logs = logs
	s.doors.watch(ctx)
	s.data.start()
	s.admin.start()
	s.grpc.start()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = s.load(ctx, watched(std.err))
	defer s.closePlant()
	if err != nil {
		s.hangUp()
		if cause := context.Cause(ctx); errors.As(cause, new(interrupted)) {
			s.log.Info("stopped before the model was loaded")
			return nil
		}
		return err
	}
	s.open(std)
	select {
	case <-ctx.Done():
		return s.drain(context.Cause(ctx))
	case err = <-s.data.failure():
	case err = <-s.admin.failure():
	case err = <-s.grpc.failure():
	}
	s.hangUp()
	return err
}

// watched is f if it is a terminal: a server's log elsewhere is read by programs, which a bar would
// disturb.
func watched(f *os.File) *os.File {
	if term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// newServer opens the doors, before anything slow: a port that is taken shows at once, and a probe is
// answered while the model loads.
func newServer(o *serveOptions, log *slog.Logger) (*server, error) {
	s := &server{o: o, log: log, began: time.Now()}
	var err error
	if o.http == closedDoor {
		return nil, cli.Usage{Err: errors.New("--http off: there would be nothing to serve")}
	}
	if s.doors, err = newDoors(&o.door, log); err != nil {
		return nil, err
	}
	if o.space != "" && len(o.repository.dirs) > 0 && !o.model.given {
		return nil, cli.Usage{Err: errors.New("--space is that of --model; a model of --model-repository has the parameter \"space\" in its config.pbtxt")}
	}
	limits := front.ServerOptions{Logger: log, TLS: s.doors.tls, WriteTimeout: max(3*time.Minute, o.bodyTimeout+o.requestTimeout)}
	if s.data, err = openDoor("--http", o.http, limits); err != nil {
		return nil, err
	}
	if s.admin, err = openDoor("--metrics", o.metrics, front.ServerOptions{Logger: log, TLS: s.doors.metricsTLS()}); err != nil {
		return nil, errors.Join(err, s.data.listener.Close())
	}
	limit := limitMemory()
	if limit > 0 {
		log.Debug("memory limit", "bytes", limit)
	}
	memory := cmp.Or(int64(o.repository.memory), limit, machineMemory("/proc/meminfo"))
	s.budget = service.NewBudget(memory)
	s.o.engine.pinned = pinnedMemory(s.o.engine.pinned, memory)
	b := readBuild()
	s.metrics = telemetry.NewMetrics(telemetry.MetricsOptions{Version: b.Version, Revision: b.Revision})
	s.front = front.New(front.Options{
		Logger: log, AccessLog: o.accessLog, Observer: s.metrics, MaxBody: int64(o.maxBody),
		BodyBudget: int64(o.bodyMemory), BodyTimeout: o.bodyTimeout, RequestTimeout: o.requestTimeout,
		Guard: s.doors.guard,
	})
	if s.grpc, err = openGRPC(&o.grpc, s.grpcOptions(log)); err != nil {
		s.hangUp()
		return nil, err
	}
	gpus := addDevices(s.metrics, time.Duration(o.sampleEvery)*time.Millisecond, openNVML)
	s.ops = ops.New(ops.Options{Front: s.front, Version: b.Version, Metrics: s.metrics.Handler(), Pprof: o.pprof, GPUs: gpus, Guard: s.doors.metricsGuard()})
	s.data.set(s.loadingHandler())
	if s.admin != nil {
		mux := http.NewServeMux()
		s.ops.RegisterMetrics(mux)
		s.admin.set(mux)
	}
	o.warnOpen(log)
	phase(log, "listening", s.began, "http", s.data.listener.Addr().String(), "version", b.Version)
	return s, nil
}

// loadingHandler answers until the model is there: probes as ever, requests with "try again".
func (s *server) loadingHandler() http.Handler {
	mux := http.NewServeMux()
	s.ops.Register(mux)
	oiphttp.RegisterLoading(s.front, mux)
	wait := func(*front.Exchange, *http.Request) error {
		return fault.New(fault.Unavailable, "the model is loading").After(time.Second)
	}
	for path, fail := range map[string]func(*front.Exchange, error){"/embed": embedapi.Fail, "/embed/": embedapi.Fail, "/v1/": embedapi.FailOpenAI} {
		s.front.Register(mux, front.Route{Path: path, Fail: fail,
			Methods: map[string]front.Handler{http.MethodGet: wait, http.MethodPost: wait}})
	}
	return mux
}

// load makes the plant of --model, unless only a repository is wanted, and loads the repository.
func (s *server) load(ctx context.Context, progress *os.File) (err error) {
	if err := s.openRepository(); err != nil {
		return err
	}
	if s.stored == nil || s.o.model.given {
		o := s.plantOptions()
		o.space, o.progress = s.o.space, progress
		o.fallback = !s.o.model.given && s.o.space == "" && loopbackOnly(s.o.http, s.o.metrics, s.o.grpc.address)
		if s.plant, err = buildPlant(ctx, o); err != nil {
			return err
		}
	}
	if s.oip, err = s.newOIP(); err != nil {
		return err
	}
	if err = s.followLog(); err != nil {
		return err
	}
	if err = s.startRepository(ctx); err != nil {
		return err
	}
	return s.checkEmbedModel(ctx)
}

// plantOptions are what every plant of this server has in common.
func (s *server) plantOptions() plantOptions {
	return plantOptions{model: s.o.model, engine: s.o.engine, devices: s.o.devices, image: s.o.image, batch: s.o.batch, log: s.log, metrics: s.metrics, budget: s.budget}
}

// closePlant frees the engine of --model.
func (s *server) closePlant() {
	if s.plant != nil {
		_ = s.plant.Close() // nobody is left to tell
	}
}

// open lets requests in and says so on standard output.
func (s *server) open(std streams) {
	mux := http.NewServeMux()
	embedapi.NewSwitch(embedapi.Options{Front: s.front, MaxImages: s.o.maxImages}, s.lendImages).Register(mux)
	s.openOIP(mux)
	s.ops.Register(mux)
	s.ops.SetModels(s.currentImages, s.oip.Models.Ready)
	s.data.set(mux)
	s.grpc.openModels(s)
	meta := service.Metadata{}
	if m := s.currentImages(); m != nil {
		meta = m.Metadata()
	}
	phase(s.log, "ready", s.began, "model", cmp.Or(meta.ModelName, meta.Name), "pretrained", meta.Pretrained, "engine", meta.Engine,
		"variant", meta.Variant, "precision", meta.Precision, "space", meta.Space, "synthetic", meta.Synthetic)
	url := s.data.url()
	fmt.Fprintf(std.out, "ready on %s (%s)\n", url, s.describeModels())
	if meta.Synthetic {
		fmt.Fprintln(std.out, "SYNTHETIC WEIGHTS: the embeddings mean nothing")
	}
	if s.grpc != nil {
		fmt.Fprintf(std.out, "gRPC on %s\n", s.grpc.listener.Addr())
	}
	if meta.Name != "" {
		fmt.Fprintf(std.out, "try: curl%s --data-binary @photo.jpg %s/embed\n", s.o.door.curl(), url)
	} else {
		fmt.Fprintf(std.out, "try: curl%s -X POST %s/v2/repository/index\n", s.o.door.curl(), url)
	}
	if s.admin != nil {
		fmt.Fprintf(std.out, "metrics on %s/metrics\n", s.admin.url())
	}
}

// drain ends in the order that load balancers need: not ready, a while of answering as ever, no new
// connection, the answers that are owed, then the engine.
func (s *server) drain(why error) error {
	began := time.Now()
	s.ops.SetDraining(true)
	s.grpc.setDraining()
	s.log.Info("draining", "because", why, "delay", s.o.drainDelay, "timeout", s.o.drainTimeout, "in_flight", s.front.InFlight())
	time.Sleep(s.o.drainDelay)
	ctx, cancel := context.WithTimeout(context.Background(), s.o.drainTimeout)
	defer cancel()
	defer time.AfterFunc(s.o.uploadGrace(), s.refuseUploads).Stop()
	ended := make(chan error, 1)
	go func() { ended <- s.grpc.shutdown(ctx) }()
	err := errors.Join(s.data.shutdown(ctx), <-ended)
	if err == nil {
		err = s.closeModels(ctx)
	}
	if err == nil && s.plant != nil {
		err = s.plant.images.Drain(ctx)
	}
	_ = s.admin.shutdown(ctx) // a scrape that is cut off is nobody's loss
	if err != nil {
		return fmt.Errorf("--drain-timeout %v ran out with requests unanswered: %w", s.o.drainTimeout, err)
	}
	s.log.Info("drained", "took", time.Since(began))
	return nil
}

// uploadGrace is how long a drain waits for requests that have not wholly arrived: long enough for any
// client that goes on sending, and short enough to leave time for the answers.
func (o *serveOptions) uploadGrace() time.Duration { return min(5*time.Second, o.drainTimeout/2) }

// refuseUploads ends the wait for what has not wholly arrived: it was never accepted.
func (s *server) refuseUploads() {
	n := s.front.RefuseUploads()
	if s.grpc != nil {
		n += s.grpc.RefuseUploads()
	}
	if n > 0 {
		s.log.Warn("requests that have not wholly arrived are refused, and their connections closed", "requests", n, "waited", s.o.uploadGrace())
	}
}

// hangUp closes the doors at once.
func (s *server) hangUp() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.data.shutdown(ctx)  // what is wrong has been said already
	_ = s.admin.shutdown(ctx) // likewise
	_ = s.grpc.shutdown(ctx)  // likewise
}
