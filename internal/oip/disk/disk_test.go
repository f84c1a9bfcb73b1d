package disk

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func equal[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

const sharedConfig = `backend: "vitrine"
max_batch_size: 4
input { name: "INPUT0" data_type: TYPE_STRING dims: [ 1 ] }
output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] }
parameters { key: "queue_of" value { string_value: "m" } }
`

// TestSharing serves three models over one plant, through a new version, until the last is unloaded.
func TestSharing(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig)
	b.version("m", "1", false)
	b.put("m_jpeg/config.pbtxt", sharedConfig)
	b.put("m_u8/config.pbtxt", strings.NewReplacer("TYPE_STRING", "TYPE_UINT8", "[ 1 ]", "[ -1, -1, 3 ]").Replace(sharedConfig))
	if err := b.keeper.Start(t.Context(), b.keeper.All()); err != nil {
		t.Fatal(err)
	}
	equal(t, "start", []string{"build m/1"}, b.works.since())
	b.version("m", "2", false)
	b.poll()
	equal(t, "a new version", []string{"READY m/2", "READY m_jpeg/2", "READY m_u8/2"}, ready(b))
	if err := b.registry.Unload("m"); err != nil {
		t.Fatal(err)
	}
	equal(t, "the owner is unloaded", []string{"READY m_jpeg/2", "READY m_u8/2"}, ready(b))
	r := &oip.Request{Model: "m_jpeg", Inputs: []oip.Input{{Name: "INPUT0", DType: tensor.Bytes, Shape: []int64{2, 1}, Data: strings2("cat", "dog")}}}
	got, err := b.server.Infer(t.Context(), r)
	if err != nil || got.Version != "2" || len(got.Outputs) != 1 || got.Outputs[0].Name != "OUTPUT0" || !cmp.Equal(got.Outputs[0].Shape, []int64{2, dim}) {
		t.Errorf("%+v, %v", got, err)
	}
	if items := b.works.requests[len(b.works.requests)-1].Items; len(items) != 2 || string(items[1].Data) != "dog" || items[0].Kind != service.Encoded {
		t.Errorf("%+v", items)
	}
	if err := b.registry.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "the end", []string{"build m/2", "close m/1", "close m/2"}, b.works.since())
}

func strings2(all ...string) (b []byte) {
	for _, s := range all {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return b
}

func ready(b *bench) (all []string) {
	for _, e := range b.registry.Index(true) {
		all = append(all, e.State+" "+e.Name+"/"+e.Version)
	}
	return all
}

// TestASharedQueueAlone loads a model whose owner is not served: the plant is the owner's all the same.
func TestASharedQueueAlone(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig+`version_policy { all { } }`)
	b.version("m", "1", false)
	b.version("m", "2", false)
	b.put("m_jpeg/config.pbtxt", sharedConfig)
	if err := b.registry.Load(t.Context(), "m_jpeg", "", nil); err != nil {
		t.Fatal(err)
	}
	equal(t, "index", []string{"READY m_jpeg/2"}, ready(b))
	if err := b.registry.Load(t.Context(), "m", "", nil); err != nil {
		t.Fatal(err)
	}
	equal(t, "index", []string{"READY m/1", "READY m/2", "READY m_jpeg/2"}, ready(b))
	equal(t, "made", []string{"build m/1", "build m/2"}, b.works.since())
}

// TestWhatDidNotChangeStays adds a version and loads again: the version that was there keeps its plant
// and its statistics.
func TestWhatDidNotChangeStays(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig+`version_policy { all { } }`)
	b.version("m", "1", false)
	if err := b.keeper.Start(t.Context(), []string{"m"}); err != nil {
		t.Fatal(err)
	}
	b.answer("m")
	first, err := b.registry.Get("m", "1")
	if err != nil {
		t.Fatal(err)
	}
	b.version("m", "2", false)
	b.poll()
	again, err := b.registry.Get("m", "1")
	if err != nil || again != first || again.Statistics().InferenceCount != 1 {
		t.Errorf("version 1 is another now, with %d inferences, %v", again.Statistics().InferenceCount, err)
	}
	equal(t, "made", []string{"build m/1", "build m/2"}, b.works.since())
	b.poll()
	equal(t, "a look at nothing new", nil, b.works.since())
}

// TestHalfWritten sees a version grow: it is loaded when two looks find the same.
func TestHalfWritten(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig)
	b.version("m", "1", false)
	if err := b.keeper.Start(t.Context(), []string{"m"}); err != nil {
		t.Fatal(err)
	}
	b.works.since()
	for range 4 {
		b.version("m", "2", false)
		b.keeper.Poll(t.Context())
		equal(t, "while it is written", nil, b.works.since())
	}
	b.keeper.Poll(t.Context())
	equal(t, "when it is there", "2", b.answer("m"))
	// A folder that is away at one look only is not unloaded.
	if err := os.Rename(filepath.Join(b.root, "m"), filepath.Join(b.root, ".m")); err != nil {
		t.Fatal(err)
	}
	b.keeper.Poll(t.Context())
	if err := os.Rename(filepath.Join(b.root, ".m"), filepath.Join(b.root, "m")); err != nil {
		t.Fatal(err)
	}
	b.poll()
	equal(t, "after the folder was away", "2", b.answer("m"))
}

// TestARequestKeepsItsVersion exchanges a version while it answers.
func TestARequestKeepsItsVersion(t *testing.T) {
	b := newBench(t)
	b.works.hold = make(chan struct{})
	b.put("m/config.pbtxt", imageConfig)
	b.version("m", "1", false)
	if err := b.keeper.Start(t.Context(), []string{"m"}); err != nil {
		t.Fatal(err)
	}
	call, err := b.server.Begin(&oip.Request{Model: "m", Inputs: []oip.Input{{Name: "INPUT0", DType: tensor.FP32, Shape: []int64{1, 3, side, side}, Data: make([]byte, 48)}}})
	if err != nil {
		t.Fatal(err)
	}
	b.version("m", "2", false)
	b.poll()
	equal(t, "index", []string{"READY m/2"}, ready(b))
	equal(t, "with a request inside", []string{"build m/1", "build m/2"}, b.works.since())
	close(b.works.hold)
	if got, err := call.Run(t.Context()); err != nil || got.Version != "1" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := b.registry.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "after it", []string{"close m/1", "close m/2"}, b.works.since())
}

// TestAtTheSameTime loads eight models, three at a time; the index shows the others as being loaded.
func TestAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, root: t.TempDir(), works: &works{gate: make(chan struct{})}}
		b.open(3)
		for _, name := range strings.Split("abcdefgh", "") {
			b.put(name+"/config.pbtxt", imageConfig)
			b.version(name, "1", false)
		}
		done := make(chan error)
		go func() { done <- b.keeper.Start(t.Context(), b.keeper.All()) }()
		synctest.Wait()
		index := b.registry.Index(false)
		if n := len(index); n != 8 || slices.ContainsFunc(index, func(e oip.IndexEntry) bool { return e.State != "LOADING" }) {
			t.Errorf("%+v", index)
		}
		if b.registry.Ready() {
			t.Error("ready while the first versions are loaded")
		}
		close(b.works.gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(ready(b)) != 8 || b.works.top != 3 || !b.registry.Ready() {
			t.Errorf("%v, %d at a time", ready(b), b.works.top)
		}
		if err := b.registry.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestMemoryThatBecomesFree tries again what had no memory, without a change on disk.
func TestMemoryThatBecomesFree(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig)
	b.version("m", "1", false)
	b.works.full = true
	if err := b.keeper.Start(t.Context(), []string{"m"}); err == nil || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("loaded: %v", err)
	}
	b.works.full = false
	b.poll()
	equal(t, "answer", "1", b.answer("m"))
}

func TestFilesOfARequest(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	b := newBench(t)
	config := `{"backend":"vitrine","max_batch_size":8,"version_policy":{"specific":{"versions":[7]}},
		"input":[{"name":"INPUT0","data_type":"TYPE_FP32","dims":[3,2,2]}],"output":[{"name":"OUTPUT0","data_type":"TYPE_FP32","dims":[4]}]}`
	if err := b.registry.Load(t.Context(), "m", config, map[string][]byte{"file:7/weights": []byte("x")}); err != nil {
		t.Fatal(err)
	}
	equal(t, "answer", "7", b.answer("m"))
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
	if err := b.registry.Load(t.Context(), "m", config, map[string][]byte{"file:7/weights": []byte("y")}); err != nil {
		t.Fatal(err)
	}
	if err := b.registry.Load(t.Context(), "m", "", map[string][]byte{"file:7/weights": []byte("y")}); err == nil || !strings.Contains(err.Error(), "'config' must be specified") {
		t.Error(err)
	}
	for _, name := range []string{"../x", "7/../../x", "/etc/x", "7//x", "", "7/x\x00", `7\x`} {
		err := b.registry.Load(t.Context(), "m", config, map[string][]byte{"file:" + name: []byte("y")})
		if err == nil || !strings.Contains(err.Error(), "is not file:<version>/<name>") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestRefused holds one setting a line, and what is said of it.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		`backend: "vitrine" parameters { key: "precison" value { string_value: "fp32" } }`:                              "parameters: 'precison' means nothing to backend 'vitrine'; it knows precision,",
		`backend: "vitrine" optimization { execution_accelerators { cpu_execution_accelerator { name: "openvino" } } }`: "optimization.execution_accelerators: backend 'vitrine' has none",
		`platform: "onnxruntime_onnx" parameters { key: "means" value { string_value: "0,0,0" } }`:                      "parameters: 'means' means nothing to backend 'onnxruntime'; it knows precision,",
		`backend: "vitrine" dynamic_batching { preserve_ordering: true } instance_group { count: 2 }`:                   "dynamic_batching.preserve_ordering: with 2 instances",
		`backend: "vitrine" sequence_batching { }`:                                                                      "sequence_batching: an embedding keeps no state",
		`backend: "vitrine" default_model_filename: "../../m/1/weights"`:                                                "default_model_filename '../../m/1/weights' must stay within the version's folder",
		`platform: "pytorch_libtorch"`: "platform: this version has no engine for 'pytorch_libtorch' (PyTorch); this server has vitrine, onnxruntime",
		`backend: "python"`:            "backend: this version has no engine for 'python' (Triton's Python backend); this server has vitrine",
		`backend: "vitrine_sample" parameters { key: "kind" value { string_value: "divine" } }`:                                                      `no sample model computes "divine"`,
		`backend: "vitrine" input { name: "x" data_type: TYPE_FP32 dims: [ 3, 4, 4 ] }`:                                                              "input 'x' of type FP32 must have dims [3, 2, 2], a preprocessed image, not [3 4 4]",
		`backend: "vitrine" input { name: "x" data_type: TYPE_UINT8 dims: [ 3, -1, -1 ] }`:                                                           "must have dims [-1, -1, 3]",
		`backend: "vitrine" input { name: "x" data_type: TYPE_STRING dims: [ 2 ] }`:                                                                  "must have dims [1], an image file",
		`backend: "vitrine" input { name: "x" data_type: TYPE_FP16 dims: [ 1 ] }`:                                                                    "input 'x' must be FP32 (preprocessed images), UINT8 (pixels) or BYTES (image files), not FP16",
		`backend: "vitrine" output { name: "y" data_type: TYPE_FP32 dims: [ 512 ] }`:                                                                 "output 'y' must be FP32 [4], the model's embedding, not FP32 [512]",
		`backend: "vitrine" input { name: "x" data_type: TYPE_UINT8 dims: [ 1, 1, 3 ] } input { name: "z" data_type: TYPE_UINT8 dims: [ 1, 1, 3 ] }`: "one input and one output, not 2 and 1",
		`backend: "vitrine" parameters { key: "queue_of" value { string_value: "x" } }`:                                                              "names itself as the model whose queue it shares",
		`backend: "vitrine" parameters { key: "queue_of" value { string_value: "none" } }`:                                                           "the model whose queue 'x' shares: model 'none' is in no model repository",
		`backend: "vitrine" parameters { key: "queue_of" value { string_value: "twice" } }`:                                                          "model 'x' shares the queue of 'twice', which has none of its own",
		`backend: "vitrine" parameters { key: "queue_of" value { string_value: "s" } }`:                                                              "queue_of names 's', which is a model of backend 'vitrine_sample'",
		`backend: "vitrine" max_batch_size: 9 parameters { key: "queue_of" value { string_value: "m" } }`:                                            "max_batch_size 9 is over that of 'm', whose queue it shares: 8",
		`backend: "vitrine" dynamic_batching { } parameters { key: "queue_of" value { string_value: "m" } }`:                                         "dynamic_batching: the queue is that of 'm'",
		`backend: "vitrine" instance_group { count: 2 } parameters { key: "queue_of" value { string_value: "m" } }`:                                  "instance_group: the instances are those of 'm'",
		`backend: "vitrine" parameters { key: "space" value { string_value: "v" } } parameters { key: "queue_of" value { string_value: "m" } }`:      "parameters: 'space' is decided by 'm'",
	} {
		b := newBench(t)
		b.put("m/config.pbtxt", imageConfig)
		b.version("m", "1", false)
		b.put("twice/config.pbtxt", sharedConfig)
		b.put("s/config.pbtxt", `backend: "vitrine_sample" parameters { key: "kind" value { string_value: "zeros" } }`)
		b.put("s/1/x", "")
		b.put("x/config.pbtxt", text)
		b.put("x/1/weights", "")
		err := b.registry.Load(t.Context(), "x", "", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestBatchless serves single images, whose tensors have no batch dimension.
func TestBatchless(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", `backend: "vitrine"`)
	b.version("m", "1", false)
	if err := b.registry.Load(t.Context(), "m", "", nil); err != nil {
		t.Fatal(err)
	}
	m, err := b.registry.Get("m", "")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "tensors that are not declared", oip.TensorSpec{Name: "image", DType: tensor.FP32, Shape: []int64{3, side, side}}, m.Metadata().Inputs[0])
	r := &oip.Request{Model: "m", Inputs: []oip.Input{{Name: "image", DType: tensor.FP32, Shape: []int64{3, side, side}, Data: make([]byte, 48)}}}
	got, err := b.server.Infer(t.Context(), r)
	if err != nil || !cmp.Equal(got.Outputs[0].Shape, []int64{dim}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestASampleFromDisk serves a model of the protocol's examples.
func TestASampleFromDisk(t *testing.T) {
	b := newBench(t)
	b.put("simple/config.pbtxt", `backend: "vitrine_sample" max_batch_size: 8
		input [ { name: "INPUT0" data_type: TYPE_INT32 dims: 2 }, { name: "INPUT1" data_type: TYPE_INT32 dims: 2 } ]
		output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: 2 }, { name: "OUTPUT1" data_type: TYPE_INT32 dims: 2 } ]
		parameters { key: "kind" value { string_value: "addsub" } }
		model_warmup { name: "w" batch_size: 3 inputs { key: "INPUT0" value { data_type: TYPE_INT32 dims: 2 random_data: true } }
			inputs { key: "INPUT1" value { data_type: TYPE_INT32 dims: 2 zero_data: true } } }`)
	b.put("simple/1/x", "")
	if err := b.registry.Load(t.Context(), "simple", "", nil); err != nil {
		t.Fatal(err)
	}
	two := []byte{1, 0, 0, 0, 2, 0, 0, 0}
	got, err := b.server.Infer(t.Context(), &oip.Request{Model: "simple", Inputs: []oip.Input{
		{Name: "INPUT0", DType: tensor.Int32, Shape: []int64{1, 2}, Data: two}, {Name: "INPUT1", DType: tensor.Int32, Shape: []int64{1, 2}, Data: two}}})
	if err != nil || !cmp.Equal(got.Outputs[0].Data, []byte{2, 0, 0, 0, 4, 0, 0, 0}) {
		t.Errorf("%+v, %v", got, err)
	}
	m, err := b.registry.Get("simple", "")
	if err != nil || m.Statistics().InferenceCount != 1 {
		t.Errorf("warm-up is in the statistics: %+v, %v", m.Statistics(), err)
	}
}

// TestReadWhenTheDiskIsAway keeps what is served.
func TestWhenTheDiskIsAway(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig)
	b.version("m", "1", false)
	if err := b.keeper.Start(t.Context(), []string{"m"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(b.root, b.root+".away"); err != nil {
		t.Fatal(err)
	}
	b.poll()
	equal(t, "answer", "1", b.answer("m"))
	if err := os.Rename(b.root+".away", b.root); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dirs: []string{filepath.Join(b.root, "none")}}); err == nil {
		t.Error("a folder that is not there was opened")
	}
}

// TestAnAbandonedLoad ends with its context while another makes the plant.
func TestAnAbandonedLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1)
		w := &works{}
		hold := make(chan struct{})
		first := make(chan *share)
		go func() {
			s, err := p.get(t.Context(), "k", func(context.Context) (Plant, error) { <-hold; return &fakePlant{works: w}, nil })
			if err != nil {
				t.Error(err)
			}
			first <- s
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.get(ctx, "k", nil); err == nil {
			t.Error("got a plant that is not made")
		}
		close(hold)
		s := <-first
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
		equal(t, "closed", []string{"close /"}, w.since())
		if len(p.plants) != 0 {
			t.Error("a closed plant is kept")
		}
	})
}
