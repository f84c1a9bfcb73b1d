package report

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// synth makes records of a study that never took place, from a seed: the shape of the reference's steps
// with two cards, four GPUs, links, failures and an invalid cell, so that every table has its data.
type synth struct {
	rng    *rand.Rand
	run    *run
	now    int64
	id     int
	joules float64
	last   int64
}

func newSynth(seed uint64) *synth {
	return &synth{rng: rand.New(rand.NewPCG(seed, 7)), run: &run{
		subjects: map[string]record.Subject{},
		manifest: record.Manifest{
			Version: 1, Run: fmt.Sprintf("%016x", seed), Started: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), Seed: seed,
			Command: []string{"vitrine", "bench", "study", "studies/reference.yaml", "--edition", "gpu"},
			Tool:    record.Tool{Name: "vitrine", Version: "1.2.0", Go: "go1.26.8"}, Title: "Synthetic study",
			Client: record.Host{OS: "linux", CPU: "AMD EPYC 9B14 Processor", Cores: 8, Memory: 64 << 30},
		},
		files: []File{{Name: "study.jsonl.zst", Bytes: 1234567, SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Ended: "closed properly"}},
	}}
}

// server is how a synthetic subject behaves; times in ms.
type server struct {
	name, format, backend, software string
	card                            string
	cards                           int
	price                           string
	compute                         float64 // of one image
	each                            float64 // more for each further image of a batch
	overhead, network               float64
	bytes                           int // sent for one image
	spread                          float64
	stages                          bool
}

func (s *synth) subject(v server) server {
	labels := map[string]string{"backend": v.backend, "gpu": v.card, "provider": "Vast.ai", "type": "Datacenter", "vram": "80 GB"}
	if v.cards > 1 {
		labels["gpus"], labels["interconnect"] = strconv.Itoa(v.cards), "PCIe Gen4"
	}
	if v.price != "" {
		labels["price"] = v.price
	}
	s.run.subjects[v.name] = record.Subject{Name: v.name, Format: v.format, Model: "openclip_vit_b32", Labels: labels, Server: record.Server{Software: v.software, Version: "2.51.0", Engine: v.backend, Precision: "fp32"}}
	return v
}

// cell opens a cell; end closes it.
func (s *synth) cell(step, scenario string, v server, p record.Params, round int) *cell {
	s.id++
	s.now += int64(2 * time.Second)
	c := &cell{Cell: record.Cell{ID: s.id, Key: fmt.Sprint(step, scenario, v.name, settings(p)), Step: step, Scenario: scenario, Subject: v.name, Params: p, Round: round, At: s.now}, run: s.run}
	s.run.cells = append(s.run.cells, c)
	return c
}

func (s *synth) end(c *cell, status string, reasons ...string) {
	c.end = &record.CellEnd{
		Cell: c.ID, At: s.now, Status: status, Reasons: reasons, Elapsed: time.Duration(s.now - c.At),
		Checks:  []record.Check{{Name: "server_requests", Want: float64(len(c.requests)), Got: float64(len(c.requests)), OK: true}},
		Harness: record.Harness{LatenessP50: 4 * time.Microsecond, LatenessP99: 90 * time.Microsecond, LatenessMax: 2 * time.Millisecond, CPU: time.Duration(s.now-c.At) / 9},
	}
}

// noise is a factor of a lognormal distribution with median 1.
func (s *synth) noise(spread float64) float64 { return math.Exp(spread * s.rng.NormFloat64()) }

// closed sends n requests of batch images by several clients, with what the server says of them.
func (s *synth) closed(c *cell, v server, n, clients, images int, slow float64) {
	const warm = 5
	link := 0.0
	if c.Params.Link != "" {
		link = 40
	}
	s.scrape(c, v, 0, 0)
	free := make([]int64, clients)
	for w := range free {
		free[w] = s.now
	}
	for i := range n + warm {
		w := i % clients
		compute := (v.compute + v.each*float64(images-1)) * s.noise(v.spread/3)
		queue := v.compute * (slow - 1) * s.noise(0.2)
		net := (v.network*(0.4+0.6*float64(images)) + link) * s.noise(v.spread)
		total := compute + queue + v.overhead
		sent := free[w]
		done := sent + int64((total+net)*1e6)
		free[w] = done
		q := record.Request{Due: sent, Sent: sent + 2000, Done: done, Worker: int32(w), Status: 200, BytesOut: int32(v.bytes*images + 180), BytesIn: int32(2200*images + 150), Warmup: i < warm}
		if v.stages {
			ns := func(ms float64) time.Duration { return time.Duration(ms * 1e6) }
			q.Server = record.ServerTiming{Total: ns(total), Queue: ns(queue), Input: ns(v.overhead / 4), Compute: ns(compute), Output: ns(v.overhead / 10)}
		}
		c.requests = append(c.requests, q)
		s.now = max(s.now, done)
	}
	slices.SortStableFunc(c.requests, func(a, b record.Request) int { return cmp.Compare(a.Sent, b.Sent) })
	s.scrapes(c, v, n, slow)
}

// scrapes adds eight samples over the cell's time.
func (s *synth) scrapes(c *cell, v server, n int, slow float64) {
	end := s.now
	for k := 1; k <= 8; k++ {
		s.now = c.At + (end-c.At)*int64(k)/8
		s.scrape(c, v, float64(n*k)/8, slow)
	}
	s.now = end
}

func (s *synth) scrape(c *cell, v server, requests, slow float64) {
	executions := math.Round(requests / (1 + 0.3*(slow-1)))
	us := func(ms float64) float64 { return requests * ms * 1000 * s.noise(0.01) }
	model := map[string]string{"model": "openclip_vit_b32", "version": "1"}
	values := []record.Value{
		{Name: cRequests, Labels: model, Value: requests}, {Name: cInferences, Labels: model, Value: requests}, {Name: cExecutions, Labels: model, Value: executions},
		{Name: cTotal, Labels: model, Value: us(v.compute*slow + v.overhead)}, {Name: cQueue, Labels: model, Value: us(v.compute * (slow - 1))},
		{Name: cInput, Labels: model, Value: us(v.overhead / 4)}, {Name: cCompute, Labels: model, Value: us(v.compute)}, {Name: cOutput, Labels: model, Value: us(v.overhead / 10)},
	}
	if v.stages {
		values = append(values, record.Value{Name: "process_resident_memory_bytes", Value: 3.1e8}, record.Value{Name: "process_cpu_seconds_total", Value: requests * 0.004})
	}
	load := min(slow-1+0.1, 1)
	if requests == 0 && c.Scenario == record.Idle {
		load = 0
	}
	s.joules, s.last = s.joules+float64(s.now-s.last)/1e9*(60+180*load), s.now
	for g := range max(v.cards, 1) {
		id := map[string]string{"gpu_uuid": fmt.Sprintf("GPU-%d", g)}
		power := (60 + 180*load) * s.noise(0.02)
		values = append(values,
			record.Value{Name: "nv_gpu_memory_used_bytes", Labels: id, Value: 2.47 * (1 << 30)}, record.Value{Name: "nv_gpu_memory_total_bytes", Labels: id, Value: 16 << 30},
			record.Value{Name: "nv_gpu_utilization", Labels: id, Value: 0.02 + 0.7*load*s.noise(0.05)}, record.Value{Name: "nv_gpu_power_usage", Labels: id, Value: power},
			record.Value{Name: "nv_gpu_power_limit", Labels: id, Value: 320}, record.Value{Name: "nv_energy_consumption", Labels: id, Value: 1000 + s.joules})
	}
	c.samples = append(c.samples, record.Sample{Cell: c.ID, At: s.now, Source: "server", Values: values})
}

func (s *synth) measure(c *cell, name, unit string, values ...float64) {
	c.measures = append(c.measures, record.Measure{Cell: c.ID, Name: name, Unit: unit, Values: values})
}

// several gives n values about v.
func (s *synth) several(n int, v, spread float64) (out []float64) {
	for range n {
		out = append(out, v*s.noise(spread))
	}
	return out
}

// basics are a step's single, batch, concurrency and cold start cells.
func (s *synth) basics(step string, v server, rounds int, batches, clients []int) {
	c := s.cell(step, record.ColdStart, v, record.Params{}, 0)
	s.measure(c, "start_to_first_answer", "ms", s.several(8, 540, 0.05)...)
	s.end(c, record.OK)
	for round := range rounds {
		c := s.cell(step, record.Single, v, record.Params{Batch: 1, Warmup: 5, Timeout: 30 * time.Second, Input: "photo 224x224 jpeg 13 kB"}, round)
		s.closed(c, v, 240, 1, 1, 1)
		s.end(c, record.OK)
		for _, n := range batches {
			c := s.cell(step, record.Batch, v, record.Params{Batch: n, Warmup: 5, Timeout: 30 * time.Second}, round)
			if v.backend == "TensorRT EP" && n >= 8 && v.card == "A100 SXM4" {
				s.end(c, record.Timeout, "no answer within 30 s")
				continue
			}
			s.closed(c, v, 40, 1, n, 1)
			s.end(c, record.OK)
		}
		for _, n := range clients {
			c := s.cell(step, record.Concurrency, v, record.Params{Batch: 1, Concurrency: n, Timeout: 30 * time.Second}, round)
			s.closed(c, v, 100*min(n, 16), n, 1, slowdown(n, 8))
			s.end(c, record.OK)
		}
	}
}

// slowdown of a server that takes capacity requests at once and then grows slower than its load.
func slowdown(clients, capacity int) float64 {
	return 1 + 0.6*math.Pow(float64(clients)/float64(capacity), 1.15)
}

func (s *synth) serialization(step string, v server) {
	for _, n := range []int{1, 4, 8, 16, 32} {
		for _, f := range []struct {
			name    string
			ms      float64
			payload float64
		}{{"json", 55, 2980 * 1024}, {"binary", 0.05, 588 * 1024}, {"base64_jpeg", 0.02, 17408}} {
			c := s.cell(step, record.Serialization, v, record.Params{Batch: n, Format: f.name, Encoder: "python"}, 0)
			s.measure(c, "encode", "ms", s.several(20, f.ms*float64(n), 0.03)...)
			s.measure(c, "payload", "bytes", f.payload*float64(n))
			s.end(c, record.OK)
		}
	}
}

// study is the whole of it.
func study(seed uint64) *run {
	s := newSynth(seed)
	batches, clients := []int{4, 8, 16, 32}, []int{1, 8, 32}
	torch := server{name: "PyTorch FastAPI", format: "embed-base64", backend: "PyTorch", software: "fastapi", card: "RTX A4000", compute: 12, each: 3, overhead: 4, network: 30, bytes: 17408, spread: 0.12, stages: true}
	onnx := server{name: "Triton ONNX (JSON)", format: "oip-json", backend: "ONNX CUDA EP", software: "triton", card: "RTX A4000", compute: 31, each: 8, overhead: 11, network: 480, bytes: 2980 * 1024, spread: 0.15}
	s.basics("4", s.subject(torch), 2, batches, clients)
	s.basics("4", s.subject(onnx), 2, batches, clients)
	binary := onnx
	binary.name, binary.format, binary.network, binary.bytes = "Triton ONNX", "oip-binary", 160, 602112
	s.subject(binary)
	s.serialization("5A", binary)
	s.basics("5A", binary, 2, batches, clients)
	trt := binary
	trt.name, trt.backend, trt.compute, trt.each = "Triton TRT", "TensorRT EP", 4.7, 1
	s.basics("5B", binary, 1, nil, nil)
	s.basics("5B", s.subject(trt), 1, nil, nil)
	s.threeWay("A100 SXM4", 4.4, 29, "1.50")
	s.threeWay("RTX 4080", 5.7, 2, "0.50")
	s.scaling()
	s.openLoop()
	s.model(torch)
	s.run.notes = append(s.run.notes, record.Note{Step: "6A", Text: "These figures were generated for a test and measure nothing."})
	return s.run
}

func (s *synth) threeWay(card string, onnxCompute, trtCompute float64, price string) {
	for _, v := range []server{
		{name: "PyTorch on " + card, format: "embed-base64", backend: "PyTorch", software: "fastapi", compute: 12, each: 2, overhead: 4, network: 30, bytes: 17408, spread: 0.1, stages: true},
		{name: "Triton ONNX on " + card, format: "oip-binary", backend: "ONNX CUDA EP", software: "triton", compute: onnxCompute, each: 3, overhead: 10, network: 160, bytes: 602112, spread: 0.05},
		{name: "Triton TRT on " + card, format: "oip-binary", backend: "TensorRT EP", software: "triton", compute: trtCompute, each: 1, overhead: 10, network: 165, bytes: 602112, spread: 0.2},
	} {
		v.card, v.price = card, price
		s.subject(v)
		idle := s.cell("6A", record.Idle, v, record.Params{}, 0)
		for range 8 {
			s.now += int64(time.Second)
			s.scrape(idle, v, 0, 0)
		}
		s.end(idle, record.OK)
		s.basics("6A", v, 2, []int{4, 8, 16, 32}, nil)
		for _, link := range []string{"rtt=40ms,bw=100mbit"} {
			c := s.cell("6A", record.Single, v, record.Params{Batch: 1, Link: link}, 0)
			s.closed(c, v, 200, 1, 1, 1)
			s.end(c, record.OK)
		}
	}
}

func (s *synth) scaling() {
	v := s.subject(server{name: "Triton ONNX x4", format: "oip-binary", backend: "ONNX CUDA EP", software: "triton", card: "RTX 4080", cards: 4, price: "8.00", compute: 8, each: 3, overhead: 1, network: 15, bytes: 602112, spread: 0.1})
	for _, instances := range []int{1, 4} {
		for round := range 3 {
			for _, n := range []int{1, 4, 8, 16, 32, 64, 128} {
				c := s.cell("6B", record.Concurrency, v, record.Params{Batch: 1, Concurrency: n, Instances: instances}, round)
				s.closed(c, v, 40*min(n, 16), n, 1, slowdown(n, 5*int(math.Sqrt(float64(instances)))))
				if n == 128 && round == 2 && instances == 4 {
					s.end(c, record.Invalid, "the client used 99 % of its processor")
				} else {
					s.end(c, record.OK)
				}
			}
		}
	}
}

func (s *synth) openLoop() {
	v := s.subject(server{name: "Vitrine", format: "embed-raw", backend: "cuda fp16", software: "vitrine", card: "RTX 4080", price: "0.50", compute: 1.1, each: 0.1, overhead: 0.4, network: 0.3, bytes: 13312, spread: 0.15, stages: true})
	s.basics("7", v, 3, []int{8, 32}, []int{1, 8, 32})
	for _, rate := range []float64{100, 300} {
		c := s.cell("7", record.OpenLoop, v, record.Params{Batch: 1, Rate: rate, Arrival: "poisson"}, 0)
		gap := 1e9 / rate
		due, free := float64(s.now), s.now
		for range 1500 {
			due += gap * s.rng.ExpFloat64()
			sent := max(int64(due), free)
			free = sent + int64(2.4e6*s.noise(0.2))
			c.requests = append(c.requests, record.Request{Due: int64(due), Sent: sent, Done: free, Status: 200, BytesOut: 13400, BytesIn: 2300})
		}
		s.now = free
		s.end(c, record.OK)
	}
	c := s.cell("7", record.RateSearch, v, record.Params{Batch: 1, Bound: 50 * time.Millisecond, Quantile: 0.99, Arrival: "poisson"}, 0)
	s.measure(c, "highest_rate", "requests/s", 385)
	s.end(c, record.OK)
}

func (s *synth) model(v server) {
	v.name, v.format, v.backend, v.card = "ONNX Runtime CPU", "in-process", "ONNX CPU EP", ""
	s.run.subjects[v.name] = record.Subject{Name: v.name, Format: v.format, Model: "openclip_vit_b32", Labels: map[string]string{"backend": v.backend}}
	p := s.cell("", record.Profile, v, record.Params{}, 0)
	for i, name := range []string{"MatMul", "Gemm", "BiasGelu", "Conv", "Transpose", "LayerNormalization", "Softmax"} {
		p.operators = append(p.operators, record.Operator{Cell: p.ID, Name: name, Total: time.Duration(28e9 / math.Pow(3, float64(i))), Count: 30195 / (i + 1), Where: "host"})
	}
	p.models = []record.ModelFile{{Cell: p.ID, Name: "OpenCLIP ViT-B/32", Bytes: 351797248, Opset: 14, Nodes: 2272}}
	s.end(p, record.OK)
	for _, n := range []int{1, 4, 8, 16, 32} {
		c := s.cell("", record.Compute, v, record.Params{Batch: n}, 0)
		one := v
		one.compute, one.each, one.overhead, one.network, one.stages = 29.9, 18, 0, 0, false
		s.closed(c, one, 60, 1, n, 1)
		c.samples = nil
		s.end(c, record.OK)
	}
	c := s.cell("", record.Session, v, record.Params{}, 0)
	s.measure(c, "session_creation", "ms", s.several(10, 279, 0.03)...)
	s.end(c, record.OK)
}
