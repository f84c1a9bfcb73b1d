package disk

import (
	"math"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestWarmUp sends what model_warmup says, before the model is served, and counts none of it.
func TestWarmUp(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig+`
		model_warmup { name: "zeros" batch_size: 3 count: 2 inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 3, 2, 2 ] zero_data: true } } }
		model_warmup { name: "random" inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 3, 2, 2 ] random_data: true } } }
		model_warmup { name: "file" batch_size: 2 inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 3, 2, 2 ] input_data_file: "ones" } } }`)
	b.put("m/warmup/ones", strings.Repeat("\x00\x00\x80\x3f", 12))
	b.version("m", "1", false)
	b.put("m_jpeg/config.pbtxt", sharedConfig+`
		model_warmup { name: "cat" inputs { key: "INPUT0" value { data_type: TYPE_STRING dims: [ 1 ] input_data_file: "cat" } } }`)
	b.put("m_jpeg/warmup/cat", string(strings2("cat")))
	for _, name := range []string{"m", "m_jpeg"} {
		if err := b.registry.Load(t.Context(), name, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	var sizes []int
	for _, r := range b.works.requests {
		if !r.Trial {
			t.Error("a warm-up request that counts")
		}
		sizes = append(sizes, len(r.Items))
	}
	equal(t, "requests", []int{3, 3, 1, 2, 1}, sizes)
	for i, want := range []func(float32) bool{
		func(x float32) bool { return x == 0 }, nil, func(x float32) bool { return x >= 0 && x < 1 }, func(x float32) bool { return x == 1 },
	} {
		for _, item := range b.works.requests[i].Items {
			for _, x := range tensor.Float32s(item.Data) {
				if want != nil && !want(x) {
					t.Errorf("request %d holds %v", i, x)
				}
			}
		}
	}
	if last := b.works.requests[4].Items[0]; last.Kind != service.Encoded || string(last.Data) != "cat" {
		t.Errorf("%+v", last)
	}
	m, err := b.registry.Get("m", "")
	if err != nil || m.Statistics().InferenceCount != 0 {
		t.Errorf("%+v, %v", m.Statistics(), err)
	}
}

// TestWarmUpThatFails leaves the version that is served where it is.
func TestWarmUpThatFails(t *testing.T) {
	for warmup, want := range map[string]string{
		`inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 3, 2, 3 ] zero_data: true } }`:                    "model_warmup 'w' of model 'm': [request id: warm-up] unexpected shape for input 'INPUT0'",
		`inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 3, 2, 2 ] input_data_file: "none" } }`:            "warmup/none: no such file",
		`inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 3, 2, 2 ] input_data_file: "../config.pbtxt" } }`: "input_data_file '../config.pbtxt' must stay within warmup/",
		`inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 3, 2, 2 ] input_data_file: "short" } }`:           "input byte size mismatch",
		`inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 1000000, 1000000 ] zero_data: true } }`:           "are more than 1073741824 bytes",
		``: "expected 1 inputs but got 0 inputs",
	} {
		b := newBench(t)
		b.put("m/config.pbtxt", imageConfig)
		b.put("m/warmup/short", "x")
		b.version("m", "1", false)
		if err := b.keeper.Start(t.Context(), []string{"m"}); err != nil {
			t.Fatal(err)
		}
		b.put("m/config.pbtxt", imageConfig+`model_warmup { name: "w" `+warmup+` }`)
		err := b.registry.Refresh(t.Context(), "m")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", warmup, err, want)
		}
		equal(t, "still served", "1", b.answer("m"))
	}
}

func TestRandomIsFinite(t *testing.T) {
	for _, d := range []tensor.DType{tensor.FP16, tensor.BF16, tensor.FP32, tensor.FP64, tensor.Bool, tensor.Uint8} {
		data := make([]byte, 1<<12)
		fillRandom(data, d)
		different := map[byte]bool{}
		for i := 0; i+8 <= len(data); i += 2 {
			different[data[i]] = true
			var x float64
			switch d {
			case tensor.FP16:
				x = float64(tensor.FP16ToFloat32(uint16(data[i]) | uint16(data[i+1])<<8))
			case tensor.BF16:
				x = float64(tensor.BF16ToFloat32(uint16(data[i]) | uint16(data[i+1])<<8))
			case tensor.Bool:
				x = float64(data[i] &^ 1)
			}
			if math.IsNaN(x) || math.Abs(x) >= 2 {
				t.Fatalf("%v: %v", d, x)
			}
		}
		if len(different) < 2 {
			t.Errorf("%v: always the same", d)
		}
	}
}
