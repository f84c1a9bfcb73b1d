package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var began = time.Date(2026, 2, 14, 8, 37, 2, 0, time.UTC)

func manifest(run string) Manifest {
	return Manifest{Version: Version, Run: run, Started: began, Command: []string{"vitrine", "bench", "<&>"}, Tool: Tool{Name: "vitrine"}, Seed: 7}
}

// everything is one event of each kind, with all fields that matter set.
func everything() []Event {
	return []Event{
		manifest("00000000000000aa"),
		Subject{Name: "Triton", URL: "http://127.0.0.1:8000", Format: "oip-binary", Labels: map[string]string{"gpu": "RTX A4000"}, Server: Server{Software: "triton"}},
		Sample{At: 3, Source: "client", Values: []Value{{Name: "process_cpu_seconds_total", Value: 0.5}}},
		Cell{ID: 1, Key: "k1", Step: "4", Scenario: Batch, Subject: "Triton", Params: Params{Batch: 32, Timeout: time.Second}, At: 5},
		Requests{Cell: 1, List: randomRequests(40, 1)},
		Sample{Cell: 1, At: 6, Source: "server", Values: []Value{{Name: "nv_gpu_utilization", Labels: map[string]string{"gpu_uuid": "x"}, Value: 0.25}}},
		Measure{Cell: 1, Name: "start_to_ready", Unit: "ms", Values: []float64{541}},
		Operator{Cell: 1, Name: "MatMul", Total: 28153 * time.Millisecond, Count: 30195},
		ModelFile{Cell: 1, Name: "vit_b32.onnx", Bytes: 335500000, Opset: 14, Nodes: 2272},
		CellEnd{Cell: 1, At: 9, Status: OK, Checks: []Check{{Name: "littles_law", Want: 1, Got: 1.01, OK: true}}, Harness: Harness{LatenessP99: 4}},
		Note{At: 10, Step: "4", Text: "a < b"},
	}
}

func randomRequests(n int, seed uint64) []Request {
	rng := rand.New(rand.NewPCG(seed, 1))
	list := make([]Request, n)
	at := int64(1000)
	for i := range list {
		at += rng.Int64N(1e6) - 1000
		sent := at + rng.Int64N(2000) - 100
		list[i] = Request{Due: at, Sent: sent, Wrote: sent + rng.Int64N(3) - 1, FirstByte: sent + 200, Done: sent + 9e5 + rng.Int64N(1e5),
			Worker: int32(rng.IntN(8)), Status: 200, BytesOut: 602112, BytesIn: int32(2000 + rng.IntN(9)), Warmup: i < 3}
		switch rng.IntN(20) {
		case 0:
			list[i].Error, list[i].Status, list[i].Wrote, list[i].FirstByte = "connection reset", 0, 0, 0
		case 1:
			list[i].Error, list[i].Status = "503 \"queue full\"\n", 503
		case 2:
			list[i].Server = ServerTiming{Total: 5, Decode: 1, Queue: 2, Input: 3, Compute: 4, Output: 6}
		}
	}
	return list
}

func collect(t *testing.T, r *Reader) []Event {
	t.Helper()
	var out []Event
	for e, err := range r.Events() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestEveryEventComesBack(t *testing.T) {
	for _, name := range []string{"r.jsonl", "r.jsonl.zst"} {
		path := filepath.Join(t.TempDir(), name)
		w, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(everything()...); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got := collect(t, r)
		if _, ok := got[len(got)-1].(End); !ok {
			t.Errorf("%s: the last event is %T", name, got[len(got)-1])
		}
		if diff := cmp.Diff(everything(), got[:len(got)-1]); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if want := (Ending{Clean: true, Lines: 12}); r.Ending() != want {
			t.Errorf("%s: ending %+v, want %+v", name, r.Ending(), want)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("existing file: %v", err)
	}
	if _, err := Create(filepath.Join(t.TempDir(), "r.json")); err == nil || !strings.Contains(err.Error(), ".jsonl.zst") {
		t.Errorf("unknown ending: %v", err)
	}
}

// Workers add while the writer flushes; each request comes back once, with its worker's order kept.
func TestLogsUnderConcurrency(t *testing.T) {
	const workers, each = 8, 5000
	var file bytes.Buffer
	w := NewWriter(&file, true)
	if err := w.Write(manifest("a"), Cell{ID: 0}, Cell{ID: 1}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for worker := range workers {
		log := w.Requests(worker % 2)
		group.Go(func() {
			for i := range each {
				log.Add(Request{Due: int64(i), Sent: int64(i), Done: int64(i + 1), Worker: int32(worker), Status: 200})
				if i%1000 == 0 {
					if err := w.Flush(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if err := w.Write(CellEnd{Cell: 0, Status: OK}, CellEnd{Cell: 1, Status: OK}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkWorkers(t, &file, workers, each)
}

func checkWorkers(t *testing.T, file io.Reader, workers, each int) {
	t.Helper()
	r, err := NewReader(file, "memory")
	if err != nil {
		t.Fatal(err)
	}
	next := make([]int64, workers)
	ended := map[int]bool{}
	for _, e := range collect(t, r) {
		switch e := e.(type) {
		case CellEnd:
			ended[e.Cell] = true
		case Requests:
			if ended[e.Cell] {
				t.Fatalf("requests of cell %d after its end", e.Cell)
			}
			for _, q := range e.List {
				if int(q.Worker)%2 != e.Cell || q.Due != next[q.Worker] || q.Done != q.Due+1 {
					t.Fatalf("cell %d: %+v, want request %d", e.Cell, q, next[q.Worker])
				}
				next[q.Worker]++
			}
		}
	}
	for worker, n := range next {
		if n != int64(each) {
			t.Errorf("worker %d: %d of %d requests", worker, n, each)
		}
	}
}

// Without Flush or Close, what was added is out after a second.
func TestFlushesEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file bytes.Buffer
		w := NewWriter(&file, true)
		if err := w.Write(manifest("a"), Cell{ID: 0}); err != nil {
			t.Fatal(err)
		}
		log := w.Requests(0)
		log.Add(Request{Due: 1, Sent: 1, Done: 2})
		time.Sleep(flushEvery + time.Millisecond)
		synctest.Wait()
		r, err := NewReader(bytes.NewReader(file.Bytes()), "memory")
		if err != nil {
			t.Fatal(err)
		}
		if got := collect(t, r); len(got) != 3 {
			t.Errorf("%d events after a second, want 3", len(got))
		}
		if r.Ending() != (Ending{Lines: 3}) {
			t.Errorf("ending %+v, want neither clean nor torn", r.Ending())
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A file cut anywhere (at every third byte) gives a prefix of its events and no error, and can be gone on with.
func TestCutAnywhere(t *testing.T) {
	for _, compress := range []bool{false, true} {
		var file bytes.Buffer
		w := NewWriter(&file, compress)
		for _, e := range everything() {
			if err := errors.Join(w.Write(e), w.Flush()); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		first := len(firstChunk(t, compress))
		for cut := first; cut < file.Len(); cut += 3 {
			checkCut(t, file.Bytes()[:cut], compress)
		}
	}
}

// firstChunk is what the manifest alone takes.
func firstChunk(t *testing.T, compress bool) []byte {
	t.Helper()
	var file bytes.Buffer
	w := NewWriter(&file, compress)
	if err := errors.Join(w.Write(everything()[0]), w.Flush()); err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(file.Bytes())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func checkCut(t *testing.T, part []byte, compress bool) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(part), "memory")
	if err != nil {
		t.Fatal(err)
	}
	got := collect(t, r)
	if want := everything()[:min(len(got), 11)]; len(got) <= 11 && !reflect.DeepEqual(want, got) {
		t.Fatalf("cut at %d: (-want +got)\n%s", len(part), cmp.Diff(want, got))
	}
	if r.Ending().Clean && len(got) < 12 {
		t.Fatalf("cut at %d: clean", len(part))
	}
	whole := wholeLines
	if compress {
		whole = wholeFrames
	}
	end, err := whole(bytes.NewReader(part))
	if err != nil {
		t.Fatal(err)
	}
	// Plain text may stop just before a newline: the line is whole, and yet cut away by Append.
	torn := end < int64(len(part)) && !json.Valid(part[end:])
	if end > int64(len(part)) || !compress && r.Ending().Torn != torn {
		t.Fatalf("cut at %d: whole up to %d, ending %+v", len(part), end, r.Ending())
	}
}

func TestAppendGoesOnAfterAKill(t *testing.T) {
	for _, name := range []string{"r.jsonl", "r.jsonl.zst"} {
		path := filepath.Join(t.TempDir(), name)
		w, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write(everything()[:4]...), w.Flush(), w.Write(everything()[4:]...), w.Close()); err != nil {
			t.Fatal(err)
		}
		size := fileSize(t, path)
		if err := os.Truncate(path, size-5); err != nil {
			t.Fatal(err)
		}
		w, before, err := Append(path)
		if err != nil {
			t.Fatal(err)
		}
		if before.LastCell() != 1 || before.Runs[0].Manifest.Run != "00000000000000aa" {
			t.Errorf("%s: before: last cell %d", name, before.LastCell())
		}
		again := []Event{before.Runs[0].Manifest, Cell{ID: 2, Key: "k2"}, CellEnd{Cell: 2, Status: OK}}
		if err := errors.Join(w.Write(again...), w.Close()); err != nil {
			t.Fatal(err)
		}
		data, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(data.Runs) != 1 || len(data.Runs[0].Cells) != 2 || !data.Files[0].Ending.Clean {
			t.Errorf("%s: %d runs, ending %+v", name, len(data.Runs), data.Files[0].Ending)
		}
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// failing takes n bytes, as a disk that fills.
type failing struct{ left int }

var errFull = errors.New("no space left on device")

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n := f.left
		f.left = 0
		return n, errFull
	}
	f.left -= len(p)
	return len(p), nil
}

func TestFullDiskIsToldAndStays(t *testing.T) {
	w := NewWriter(&failing{left: 10}, true)
	if err := errors.Join(w.Write(manifest("a"))); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); !errors.Is(err, errFull) {
		t.Errorf("flush: %v", err)
	}
	if err := w.Write(Note{Text: "more"}); !errors.Is(err, errFull) {
		t.Errorf("write: %v", err)
	}
	for range 2 {
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("close: %v", err)
		}
	}
}

func TestReaderErrorsNameTheLine(t *testing.T) {
	const head = `{"kind":"manifest","version":1,"run":"a"}` + "\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "empty"},
		{"no manifest", `{"kind":"note"}` + "\n", "line 1: a record begins with a manifest"},
		{"newer", `{"kind":"manifest","version":2}` + "\n", "line 1: format version 2; this program reads up to 1"},
		{"no version", `{"kind":"manifest"}` + "\n", "line 1: the manifest has no version"},
		{"no JSON", head + "\nhello\n", "line 3: invalid character"},
		{"wrong type", head + `{"kind":"cell","id":"x"}` + "\n", "line 2: json: cannot unmarshal"},
		{"no kind", head + `{"a":1}` + "\n", `line 2: no "kind"`},
		{"unknown cell", head + `{"kind":"cell_end","cell":9}` + "\n", "line 2: cell 9 is not known"},
		{"cell twice", head + `{"kind":"cell","id":1}` + "\n" + `{"kind":"cell","id":1}` + "\n", "line 3: cell 1 was there before"},
		{"short column", head + `{"kind":"cell","id":1}` + "\n" + `{"kind":"requests","cell":1,"n":2,"due":[1,2],"done":[1]}` + "\n", "line 3: column done has 1 values, the block 2"},
		{"bomb", head + `{"kind":"cell","id":1}` + "\n" + `{"kind":"requests","cell":1,"n":60000,"due":7}` + "\n", "due column of 0"},
		{"error index", head + `{"kind":"cell","id":1}` + "\n" + `{"kind":"requests","cell":1,"n":1,"due":[7],"errors":["x"],"error":2}` + "\n", "points outside"},
		{"fraction", head + `{"kind":"cell","id":1}` + "\n" + `{"kind":"requests","cell":1,"n":1,"due":[7.5]}` + "\n", "7.5"},
	} {
		path := filepath.Join(t.TempDir(), "r.jsonl")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseInt(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-7": -7, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64} {
		if v, end := parseInt([]byte(text), 0); v != want || end != len(text) {
			t.Errorf("%s: %d, %d", text, v, end)
		}
	}
	for _, text := range []string{"", "-", "x", "01", "9223372036854775808", "-9223372036854775809", "92233720368547758070"} {
		if v, end := parseInt([]byte(text), 0); end != -1 {
			t.Errorf("%s: %d, %d", text, v, end)
		}
	}
}

func TestLaterAdditionsAreIgnored(t *testing.T) {
	text := `{"kind":"manifest","version":1,"run":"a","future":{"x":[1]}}` + "\n" + `{"kind":"hologram","x":1}` + "\n" +
		`{"kind":"cell","id":1,"new":true}` + "\n" + `{"kind":"requests","cell":1,"n":1,"due":[7],"ttl":[3],"done":5}`
	r, err := NewReader(strings.NewReader(text), "memory")
	if err != nil {
		t.Fatal(err)
	}
	got := collect(t, r)
	want := Requests{Cell: 1, List: []Request{{Due: 7, Sent: 7, Done: 12}}}
	if diff := cmp.Diff(want, got[2]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLoadMergesByRun(t *testing.T) {
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "a.jsonl.zst"), filepath.Join(dir, "b.jsonl"), filepath.Join(dir, "c.jsonl")}
	first := append(everything(), Cell{ID: 2, Key: "k2"})
	second := []Event{everything()[0], Cell{ID: 3, Key: "k3", At: 5}, Note{Text: "resumed"}, manifest("bb"), Cell{ID: 1, Key: "other"}, CellEnd{Cell: 1, Status: Timeout}}
	for i, events := range [][]Event{first, second, first} { // the third is a copy of the first
		w, err := Create(paths[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write(events...), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	data, err := Load(paths...)
	if err != nil {
		t.Fatal(err)
	}
	if len(data.Runs) != 2 || len(data.Runs[0].Cells) != 3 || len(data.Runs[1].Cells) != 1 {
		t.Fatalf("runs %d: %+v", len(data.Runs), data.Runs)
	}
	if got := len(data.Runs[0].Cells[0].Requests); got != 40 {
		t.Errorf("%d requests, want 40", got)
	}
	if got := data.Runs[0].Cells[1].Status(); got != Failed {
		t.Errorf("a cell without end: %s", got)
	}
	if got := data.Runs[1].Cells[0].Status(); got != Timeout {
		t.Errorf("the other run's cell: %s", got)
	}
	if _, err := LoadWithin(Limits{Requests: 39}, paths[0]); err == nil || !strings.Contains(err.Error(), "more than 39 requests") {
		t.Errorf("limit: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, compress := range []bool{false, true} {
		var file bytes.Buffer
		w := NewWriter(&file, compress)
		events := everything()
		events[4] = Requests{Cell: 1, List: randomRequests(2, 3)} // small: the fuzzer minimises for long
		if err := errors.Join(w.Write(events...), w.Close()); err != nil {
			f.Fatal(err)
		}
		f.Add(file.Bytes())
		f.Add(file.Bytes()[:file.Len()-7])
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file), "fuzz")
		if err != nil {
			return
		}
		defer r.Close()
		l := newLoader(Limits{Requests: 1 << 16})
		if l.read("fuzz", r) != nil {
			return
		}
		rewritten(t, l.finish())
	})
}

// rewritten checks that requests that were read are written as they are.
func rewritten(t *testing.T, data *Data) {
	for _, run := range data.Runs {
		for _, c := range run.Cells {
			if len(c.Requests) == 0 || len(c.Requests) > maxBlock {
				continue
			}
			line, err := appendEvent(nil, Requests{Cell: c.ID, List: c.Requests})
			if err != nil {
				t.Fatal(err)
			}
			again, err := parseEvent(line)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.Requests, again.(Requests).List); diff != "" {
				t.Fatalf("(-want +got)\n%s", diff)
			}
		}
	}
}

// FuzzColumns checks the quick way of taking a line apart against encoding/json.
func FuzzColumns(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"requests","cell":1,"n":2,"due":[5,-1],"done":[9,-9223372036854775807],"status":200}`,
		`{"kind":"requests","cell":1,"n":0,"due":[]}`,
		`{"kind":"requests","cell":1,"n":1,"due":[ 7 , 8],"future":{"a":[1]}}`,
		`{"kind":"requests","cell":1,"n":1,"due":[07],"errors":["x]"],"error":1}`,
		`{"kind":"requests","cell":1,"n":1,"due":[1],"done":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		raw := splitColumns(line)
		if raw == nil {
			return
		}
		quick := blockReader{raw: raw}
		got := quick.read()
		if quick.err != nil {
			return // a column that is used is wrong; encoding/json may say so earlier
		}
		var slow blockReader
		if err := json.Unmarshal(line, &slow.raw); err != nil {
			// A column that nobody knows may be no JSON.
			return
		}
		if want := slow.read(); slow.err != nil || !reflect.DeepEqual(want, got) {
			t.Fatalf("%s: %v\n%+v, want %+v", line, slow.err, got, want)
		}
	})
}

// BenchmarkParse is the reader's part.
func BenchmarkParse(b *testing.B) {
	line := newColumnEncoder().append(nil, 1, randomRequests(lineRequests, 1))
	line = bytes.TrimSpace(line)
	n := 0
	for b.Loop() {
		if _, err := parseEvent(line); err != nil {
			b.Fatal(err)
		}
		n += lineRequests
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkAdd is the worker's part alone; allocations are of the whole process.
func BenchmarkAdd(b *testing.B) {
	w := NewWriter(io.Discard, true)
	log := w.Requests(0)
	list := randomRequests(4096, 1)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		log.Add(list[i&4095])
		i++
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkEncode is the writer's part: columns and compression.
func BenchmarkEncode(b *testing.B) {
	list := randomRequests(lineRequests, 1)
	enc, cols := newEncoder(), newColumnEncoder()
	var line, frame []byte
	n := 0
	for b.Loop() {
		line = cols.append(line[:0], 1, list)
		frame = enc.EncodeAll(line, frame[:0])
		n += len(list)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(len(frame))/lineRequests, "bytes/request")
}
