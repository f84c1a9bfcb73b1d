package scenario

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// ORTTrace is what ONNX Runtime's profile says of a session's runs: the file that enable_profiling
// writes, an array of complete events of Chrome's trace format (ts and dur in microseconds).
type ORTTrace struct {
	Operators []record.Operator // by total time, largest first
	Runs      []time.Duration   // of the runs that were counted
	Inside    time.Duration     // all operators together
	Nodes     int               // different nodes that ran
	Skipped   int               // runs of warm-up
	CutOff    bool              // the file ends in the middle: ONNX Runtime drops events after the millionth
}

// ortEvent is one event, as far as it matters.
type ortEvent struct {
	Category string         `json:"cat"`
	Name     string         `json:"name"`
	Start    int64          `json:"ts"`
	Duration int64          `json:"dur"`
	Args     map[string]any `json:"args"`
}

type nodeTime struct {
	start, duration int64
	operator        [2]string // name, provider
	node            string
}

// maxEvents bounds a trace; ONNX Runtime itself stops at a million.
const maxEvents = 5_000_000

// ReadORTTrace reads a trace and leaves its first warmup runs out. Node times are host times: on a
// device that computes asynchronously they are the time to launch, not to compute.
func ReadORTTrace(r io.Reader, warmup int) (*ORTTrace, error) {
	var runs, nodes []nodeTime
	t := &ORTTrace{}
	err := eachEvent(r, func(e *ortEvent) {
		switch {
		case e.Category == "Session" && e.Name == "model_run":
			runs = append(runs, nodeTime{start: e.Start, duration: e.Duration})
		case e.Category == "Node" && strings.HasSuffix(e.Name, "_kernel_time"):
			op, _ := e.Args["op_name"].(string)
			provider, _ := e.Args["provider"].(string)
			if op == "" {
				op = "unknown"
			}
			nodes = append(nodes, nodeTime{e.Start, e.Duration, [2]string{op, provider}, e.Name})
		}
	})
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && len(nodes) > 0:
		t.CutOff = true
	case err != nil:
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, errors.New("no operator's time in it: is it a trace of ONNX Runtime (SessionOptions.enable_profiling)?")
	}
	return t, t.count(runs, nodes, warmup)
}

// count adds the nodes up that began at or after the first run that counts.
func (t *ORTTrace) count(runs, nodes []nodeTime, warmup int) error {
	slices.SortFunc(runs, func(a, b nodeTime) int { return int(a.start - b.start) })
	if warmup >= len(runs) && warmup > 0 {
		return fmt.Errorf("%d runs in the trace: --warmup %d leaves none", len(runs), warmup)
	}
	t.Skipped = warmup
	from := int64(0)
	if len(runs) > 0 {
		from = runs[warmup].start
		for _, r := range runs[warmup:] {
			t.Runs = append(t.Runs, time.Duration(r.duration)*time.Microsecond)
		}
	}
	totals, different := map[[2]string]*record.Operator{}, map[string]bool{}
	for _, n := range nodes {
		if n.start < from {
			continue
		}
		o := totals[n.operator]
		if o == nil {
			o = &record.Operator{Name: n.operator[0], Where: n.operator[1]}
			totals[n.operator] = o
		}
		d := time.Duration(n.duration) * time.Microsecond
		o.Total, o.Count, t.Inside = o.Total+d, o.Count+1, t.Inside+d
		different[n.node] = true
	}
	t.Nodes = len(different)
	for _, o := range totals {
		t.Operators = append(t.Operators, *o)
	}
	slices.SortFunc(t.Operators, func(a, b record.Operator) int {
		if a.Total != b.Total {
			return int(b.Total - a.Total)
		}
		return strings.Compare(a.Name+a.Where, b.Name+b.Where)
	})
	return nil
}

// eachEvent calls f for every event of a trace. A file that ends early is io.ErrUnexpectedEOF.
func eachEvent(r io.Reader, f func(*ortEvent)) error {
	dec := json.NewDecoder(bufio.NewReaderSize(r, 1<<20))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return errors.Join(errors.New("a trace is a JSON array of events"), err)
	}
	for n := 0; dec.More(); n++ {
		if n == maxEvents {
			return fmt.Errorf("more than %d events", maxEvents)
		}
		var e ortEvent
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("event %d: %w", n+1, early(err))
		}
		f(&e)
	}
	_, err := dec.Token()
	return early(err)
}

func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
