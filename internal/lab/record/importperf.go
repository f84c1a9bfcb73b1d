package record

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// perf_analyzer's own words: docs/measurements_metrics.md and src/profile_data_exporter.cc of
// triton-inference-server/perf_analyzer.

// perfSubject stands for the server, of which the files say little.
func perfSubject(name string) Subject {
	return Subject{Name: name, Labels: map[string]string{"backend": name}, Server: Server{Software: strings.ToLower(name)}}
}

const perfLatency = "perf_analyzer counts latency from the actual sending, not from when a request was due: at a fixed rate a stall of the server is not in it."

// perfTimes are columns in microseconds and the measures that they are, in ms.
var perfTimes = map[string]string{
	"Avg latency": "latency_mean", "Client Send": "client_send", "Client Recv": "client_receive",
	"Network+Server Send/Recv": "network", "Server Queue": "server_queue", "Server Compute Input": "server_input",
	"Server Compute Infer": "server_compute", "Server Compute Output": "server_output",
}

// perfParts add up to the average latency, which only later versions print.
var perfParts = []string{"client_send", "network", "server_queue", "server_input", "server_compute", "server_output", "client_receive"}

var perfQuantile = regexp.MustCompile(`^p(\d+) latency$`)

// perfCSV has a line for each load.
func (im *importer) perfCSV(text []byte) error {
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = -1 // with GPUs, lines end in a comma that the first line lacks
	rows, err := r.ReadAll()
	if err != nil {
		return err
	}
	if len(rows) < 2 || !contains(rows[0], "Inferences/Second") {
		return errors.New("a CSV file must be perf_analyzer's: a first line with Inferences/Second, then one for each load")
	}
	im.manifest.Tool = Tool{Name: "perf_analyzer"}
	im.subject(perfSubject("Triton"))
	im.note("The file does not say when it was measured, against what, or with which batch size. Its time is that of the file. " + perfLatency)
	for i, row := range rows[1:] {
		if err := im.perfRow(rows[0], row); err != nil {
			return fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	return nil
}

func contains(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}

func (im *importer) perfRow(head, row []string) error {
	cell := Cell{Subject: "Triton"}
	var content imported
	parts := map[string]float64{}
	for i, name := range head[:min(len(head), len(row))] {
		if strings.Contains(name, "GPU") {
			content.perfGPU(name, row[i])
			continue
		}
		v, err := strconv.ParseFloat(row[i], 64)
		if err != nil {
			continue // an empty column, or one in words
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s is %s", name, row[i])
		}
		quantile := perfQuantile.FindStringSubmatch(name)
		switch {
		case name == "Concurrency":
			cell.Scenario, cell.Params.Concurrency = Concurrency, int(v)
		case name == "Request Rate":
			cell.Scenario, cell.Params.Rate = OpenLoop, v
		case name == "Inferences/Second":
			content.measure("throughput", "images/s", v)
		case quantile != nil:
			content.measure("latency_p"+quantile[1], "ms", v/1000)
		case perfTimes[name] != "":
			parts[perfTimes[name]] = v / 1000
			content.measure(perfTimes[name], "ms", v/1000)
		}
	}
	if cell.Scenario == "" {
		return errors.New("neither a concurrency nor a request rate")
	}
	if _, known := parts["latency_mean"]; !known {
		content.perfMean(parts)
	}
	im.cell(cell, content)
	return nil
}

// perfMean adds the average latency as the sum of its parts, if all are there.
func (c *imported) perfMean(parts map[string]float64) {
	sum := 0.0
	for _, name := range perfParts {
		v, ok := parts[name]
		if !ok {
			return
		}
		sum += v
	}
	c.measures = append(c.measures, Measure{Name: "latency_mean", Unit: "ms", Values: []float64{sum}, Note: "the sum of perf_analyzer's parts"})
}

var perfGPUColumns = map[string]struct {
	name, unit string
	factor     float64
}{
	"Avg GPU Utilization": {"gpu_utilization", "%", 100}, "Avg GPU Power Usage": {"gpu_power", "W", 1},
	"Max GPU Memory Usage": {"gpu_memory_used", "bytes", 1}, "Total GPU Memory": {"gpu_memory_total", "bytes", 1},
}

// perfGPU reads "GPU-uuid:value;GPU-uuid:value;".
func (c *imported) perfGPU(column, text string) {
	what, ok := perfGPUColumns[column]
	if !ok {
		return
	}
	var values []float64
	for one := range strings.SplitSeq(text, ";") {
		_, number, ok := strings.Cut(one, ":")
		v, err := strconv.ParseFloat(number, 64)
		if ok && err == nil {
			values = append(values, v*what.factor)
		}
	}
	if len(values) > 0 {
		c.measure(what.name, what.unit, values...)
	}
}

// perfExport is the JSON of --profile-export-file. Times are nanoseconds since 1970.
type perfExport struct {
	Version     string `json:"version"`
	ServiceKind string `json:"service_kind"`
	Endpoint    string `json:"endpoint"`
	Experiments []struct {
		Experiment struct {
			Mode  string  `json:"mode"`
			Value float64 `json:"value"`
		} `json:"experiment"`
		Requests []struct {
			Timestamp int64   `json:"timestamp"`
			Responses []int64 `json:"response_timestamps"`
		} `json:"requests"`
		Windows []int64 `json:"window_boundaries"`
	} `json:"experiments"`
}

func (im *importer) perfJSON(text []byte) error {
	var e perfExport
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	first := int64(math.MaxInt64)
	for _, x := range e.Experiments {
		for _, q := range x.Requests {
			first = min(first, q.Timestamp)
		}
	}
	if first == math.MaxInt64 {
		return errors.New("perf_analyzer's export has no requests")
	}
	im.manifest.Started = time.Unix(0, first).UTC()
	im.manifest.Tool = Tool{Name: "perf_analyzer", Version: e.Version}
	s := perfSubject("Triton")
	s.URL = e.Endpoint
	s.Server.Software = e.ServiceKind
	im.subject(s)
	im.note("The batch size is not said. " + perfLatency)
	for i := range e.Experiments {
		if err := im.perfExperiment(&e, i, first); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) perfExperiment(e *perfExport, i int, first int64) error {
	x := &e.Experiments[i]
	cell := Cell{Subject: "Triton"}
	switch x.Experiment.Mode {
	case "concurrency":
		cell.Scenario, cell.Params.Concurrency = Concurrency, int(x.Experiment.Value)
	case "request_rate":
		cell.Scenario, cell.Params.Rate = OpenLoop, x.Experiment.Value
	default:
		return fmt.Errorf("experiment %d: mode %q", i+1, x.Experiment.Mode)
	}
	var content imported
	from, to := int64(math.MaxInt64), int64(math.MinInt64)
	for _, q := range x.Requests {
		r := Request{Due: q.Timestamp - first, Sent: q.Timestamp - first, Done: q.Timestamp - first}
		if n := len(q.Responses); n > 0 {
			r.FirstByte, r.Done, r.Status = q.Responses[0]-first, q.Responses[n-1]-first, 200
		} else {
			r.Error = "no answer"
		}
		from, to = min(from, r.Sent), max(to, r.Done)
		content.requests = append(content.requests, r)
	}
	if n := len(x.Windows); n > 1 {
		from, to = x.Windows[0]-first, x.Windows[n-1]-first
	}
	if len(content.requests) == 0 {
		content.end = CellEnd{Status: Failed, Reasons: []string{"no requests"}}
	} else {
		cell.At, content.end = from, CellEnd{At: to, Elapsed: time.Duration(to - from)}
	}
	im.cell(cell, content)
	return nil
}
