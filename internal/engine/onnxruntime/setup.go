package onnxruntime

// Setup is how an engine's sessions are made, for a program that makes the same ones without it, to
// compare with or to find out whose a fault is.
type Setup struct {
	Library  string         `json:"library"` // of ONNX Runtime
	Release  string         `json:"release"`
	Model    string         `json:"model"` // the ONNX file
	Input    string         `json:"input"`
	Output   string         `json:"output"`
	Half     [2]bool        `json:"half"` // input and output are float16
	Provider string         `json:"provider"`
	Device   int            `json:"device"`
	Threads  int            `json:"threads"`
	Spinning bool           `json:"spinning"`
	Graphs   bool           `json:"cuda_graphs"`
	Sessions []SessionSetup `json:"sessions"`
}

// SessionSetup is one session, or one an instance.
type SessionSetup struct {
	Batches  []int             `json:"batches"`  // planned sizes that run on it; empty is any
	Settings map[string]string `json:"settings"` // of the provider; of CPU entries of the session
	Rest     map[string]string `json:"rest"`     // of CUDA, which computes what TensorRT does not
}

// Setup tells how the engine's sessions are made.
func (e *Engine) Setup() Setup {
	o, s := &e.options, e.source
	all := Setup{
		Library: e.loaded.api.Path, Release: e.loaded.api.Release, Model: s.path, Input: s.input, Output: s.output, Half: s.half,
		Provider: fullNames[o.Provider].name, Device: o.Device, Threads: o.Threads, Spinning: !o.NoSpin, Graphs: o.CUDAGraph,
	}
	plans := [][]int{o.Batches}
	if o.sessionPerSize() {
		plans = nil
		for _, n := range o.Batches {
			plans = append(plans, []int{n})
		}
	}
	for _, sizes := range plans {
		p := SessionSetup{Batches: sizes, Settings: o.settings(s, all.Release, sizes)}
		if o.Provider == TensorRT {
			p.Rest = o.restSettings()
		}
		all.Sessions = append(all.Sessions, p)
	}
	return all
}
