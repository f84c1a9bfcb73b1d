package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// subjectFlags say what is measured. They are typed, not configured: a benchmark says on its own command
// line what it is of.
type subjectFlags struct {
	targets, formats, models, names, labels, headers []string
	metrics, devices                                 []string
	start, ready                                     string
	within                                           time.Duration
}

func (s *subjectFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "What is measured", func(fs *pflag.FlagSet) {
		fs.StringArrayVar(&s.targets, "target", nil, "`URL` of a server; again for more, which are then measured in turn (default http://127.0.0.1:8000)")
		fs.StringArrayVar(&s.formats, "format", nil, "`FORMAT` of requests: "+strings.Join(plan.Formats[:len(plan.Formats)-1], ", ")+
			"; once for all targets, or once for each (default embed-raw)")
		fs.StringArrayVar(&s.models, "served-model", nil, "`NAME` of the model on the server; once, or once for each target (default openclip_vit_b32, with _u8 or _jpeg where the format asks for it)")
		fs.StringArrayVar(&s.names, "name", nil, "`NAME` of a target in tables; once for each (default its format and host)")
		fs.StringArrayVar(&s.labels, "label", nil, "`KEY=VALUE` for the record, or NAME:KEY=VALUE for one target; reports know backend, machine, type, provider, interconnect, gpu, gpus, vram, price")
		fs.StringArrayVar(&s.headers, "header", nil, "`NAME: VALUE` that goes with every request")
		fs.StringArrayVar(&s.metrics, "metrics-url", nil, "`URL` of a server's metrics, or off; once for each target (default port 8002 of the server, then its own /metrics)")
		fs.StringArrayVar(&s.devices, "device-metrics-url", nil, "`URL` of the metrics of a server's cards, where its own do not tell of them, such as dcgm-exporter's http://HOST:9400/metrics; once, or once for each target (default none; cards of this machine are read where a target runs here)")
		cli.TypedOnly(fs, "target", "format", "served-model", "name", "label", "header", "metrics-url", "device-metrics-url")
	})
}

// defineStart adds the flags of scenarios that start a server.
func (s *subjectFlags) defineStart(fs *pflag.FlagSet, instances bool) {
	usage := "`COMMAND` for sh that starts the server; its output is kept in RECORD-logs beside the record"
	if instances {
		usage += "; {instances} in it stands for their number"
	}
	cli.Group(fs, "The server, where it is started here", func(fs *pflag.FlagSet) {
		fs.StringVar(&s.start, "start", "", usage)
		fs.StringVar(&s.ready, "ready", "", "`URL` that answers 2xx when the server is ready (default /v2/health/ready of the target, /readyz for embed formats)")
		fs.DurationVar(&s.within, "ready-timeout", 5*time.Minute, "longest `time` from start to ready")
		cli.TypedOnly(fs, "start", "ready", "ready-timeout")
	})
}

// loadFlags say how load is made.
type loadFlags struct {
	inputs, links []string
	fresh         bool
	duration      time.Duration
	requests      int
	warmup        int
	timeout       time.Duration
	rounds        int
	seed          uint64
}

func (l *loadFlags) define(fs *pflag.FlagSet, wire bool) {
	cli.Group(fs, "How it is measured", func(fs *pflag.FlagSet) {
		fs.StringArrayVar(&l.inputs, "input", []string{plan.DefaultInput}, "`SPEC` of the images: photo:WxH:qN, noise:WxH or dir:PATH; again to measure each")
		if wire {
			fs.StringArrayVar(&l.links, "link", nil, "`SPEC` of a network to put between, such as rtt=40ms,bw=100mbit,jitter=5ms; none for none; again to measure each")
			fs.BoolVar(&l.fresh, "new-connection", false, "a new connection for each request, as many simple clients do")
			fs.DurationVar(&l.duration, "duration", 0, "longest `time` of one cell; with --requests whichever comes first (default the scenario's)")
		}
		fs.Var(cli.NewCount(&l.requests, 0, 0, math.MaxInt32), "requests", "`requests` of one cell; 0 is the scenario's own number")
		fs.Var(cli.NewCount(&l.warmup, 10, 0, math.MaxInt32), "warmup", "`requests` before it that are recorded but not counted")
		fs.DurationVar(&l.timeout, "request-deadline", 30*time.Second, "longest `time` of one request; a late answer is a timeout")
		fs.Var(cli.NewCount(&l.rounds, 1, 1, 10000), "rounds", "`times` that every cell is measured; targets take turns in each, in a random order")
		fs.Uint64Var(&l.seed, "seed", 0, "`number` that the order, arrivals and noise come from; 0 picks one and records it")
		cli.TypedOnly(fs, "input", "requests", "warmup", "request-deadline", "rounds", "seed")
		if wire {
			cli.TypedOnly(fs, "link", "new-connection", "duration")
		}
	})
}

// settings are the flags as a plan has them.
func (l *loadFlags) settings() plan.Settings {
	s := plan.Settings{Rounds: l.rounds, Requests: l.requests, Warmup: &l.warmup, Duration: l.duration, Timeout: l.timeout,
		Input: l.inputs, Link: l.links}
	if l.fresh {
		s.NewConnection = []bool{true}
	}
	return s
}

// recordFlags say where the record goes.
type recordFlags struct {
	out, title string
	quiet      bool
}

func (r *recordFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "Record", func(fs *pflag.FlagSet) {
		fs.StringVarP(&r.out, "out", "o", "", "`FILE.jsonl.zst` of the record; a file that exists is never overwritten (default bench-SCENARIO-TIME.jsonl.zst)")
		fs.StringVar(&r.title, "title", "", "`TEXT` that heads the report")
		fs.BoolVar(&r.quiet, "quiet", false, "no progress, only the table")
		cli.TypedOnly(fs, "out", "title", "quiet")
	})
}

const defaultTarget = "http://127.0.0.1:8000"

// study makes a plan of the flags: one step without a name.
func (s *subjectFlags) study(scenario string) (*plan.Study, error) {
	if len(s.targets) == 0 {
		s.targets = []string{defaultTarget}
	}
	study := &plan.Study{Version: plan.Version, Name: "bench-" + scenario}
	if s.start != "" && len(s.targets) != 1 {
		return nil, errors.New("--start is for one --target")
	}
	for i := range s.targets {
		t, err := s.target(i)
		if err != nil {
			return nil, err
		}
		if study.Target(t.Name) != nil {
			return nil, fmt.Errorf("two targets are called %q: give each a --name", t.Name)
		}
		study.Targets = append(study.Targets, t)
	}
	if err := s.label(study); err != nil {
		return nil, err
	}
	if s.start != "" {
		v := plan.Server{Name: "server", Start: s.start, Ready: cmp.Or(s.ready, readyURL(study.Targets[0])), Within: s.within}
		study.Servers = []plan.Server{v}
		study.Targets[0].Server = v.Name
	}
	return study, nil
}

// readyURL is where servers of a format's kind say that they are ready.
func readyURL(t plan.Target) string {
	if strings.HasPrefix(t.Format, "oip-") && t.Format != target.OIPGRPC && t.Format != target.OIPGRPCImage {
		return strings.TrimRight(t.URL, "/") + "/v2/health/ready"
	}
	return strings.TrimRight(t.URL, "/") + "/readyz"
}

func (s *subjectFlags) target(i int) (plan.Target, error) {
	t := plan.Target{URL: s.targets[i]}
	if !strings.Contains(t.URL, "://") {
		t.URL = "http://" + t.URL
	}
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" {
		return t, fmt.Errorf("--target %s: want a URL such as %s", s.targets[i], defaultTarget)
	}
	for _, f := range []struct {
		flag   string
		values []string
		to     *string
	}{{"format", s.formats, &t.Format}, {"served-model", s.models, &t.Model}, {"metrics-url", s.metrics, &t.Metrics}, {"device-metrics-url", s.devices, &t.DeviceMetrics}} {
		if *f.to, err = nth(f.flag, f.values, i, len(s.targets)); err != nil {
			return t, err
		}
	}
	t.Format = cmp.Or(t.Format, target.EmbedRaw)
	t.Model = cmp.Or(t.Model, defaultModel(t.Format))
	t.Name = t.Format + " " + u.Host
	switch {
	case len(s.names) == 0:
	case len(s.names) == len(s.targets):
		t.Name = s.names[i]
	default:
		return t, fmt.Errorf("%d --name for %d --target", len(s.names), len(s.targets))
	}
	return t, nil
}

// nth is the value for target i: each has its own, or one is for all.
func nth(flag string, values []string, i, n int) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	case n:
		return values[i], nil
	}
	return "", fmt.Errorf("%d --%s for %d --target: want one, or one for each", len(values), flag, n)
}

// defaultModel is what Vitrine and the baselines call the default model in a format.
func defaultModel(format string) string {
	const name = "openclip_vit_b32"
	switch format {
	case target.OIPJSON, target.OIPBinary, target.OIPGRPC:
		return name
	case target.OIPBinaryU8:
		return name + "_u8"
	case target.OIPRaw, target.OIPGRPCImage:
		return name + "_jpeg"
	}
	return ""
}

// label gives the study and its targets their labels.
func (s *subjectFlags) label(study *plan.Study) error {
	study.Labels = map[string]string{}
	for _, l := range s.labels {
		key, value, ok := strings.Cut(l, "=")
		if !ok || key == "" {
			return fmt.Errorf("--label %s: want KEY=VALUE", l)
		}
		to := study.Labels
		if i := strings.LastIndex(key, ":"); i > 0 {
			t := study.Target(key[:i])
			if t == nil {
				return fmt.Errorf("--label %s: no target is called %q", l, key[:i])
			}
			if t.Labels == nil {
				t.Labels = map[string]string{}
			}
			to, key = t.Labels, key[i+1:]
		}
		to[key] = value
	}
	return nil
}

// headerMap are the headers as a map.
func (s *subjectFlags) headerMap() (map[string]string, error) {
	all := map[string]string{}
	for _, h := range s.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("--header %q: want NAME: VALUE", h)
		}
		all[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return all, nil
}
