package capi

import (
	"errors"
	"maps"
	"runtime"
	"slices"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/dynlib"
)

// Handles of the library's objects. 0 is none.
type (
	Env            uintptr
	Session        uintptr
	SessionOptions uintptr
	RunOptions     uintptr
	Value          uintptr
	Binding        uintptr
	MemoryInfo     uintptr
)

// Element is an ONNXTensorElementDataType, which has ONNX's own numbers up to bfloat16.
type Element int32

// Numbers of enumerations in the header.
const (
	Float32 Element = 1
	Float16 Element = 10

	loggingError = 3

	arenaAllocator    = 1
	deviceAllocator   = 0
	memoryTypeDefault = 0
)

// EnvOptions make the process's environment.
type EnvOptions struct {
	SharedThreads bool // thread pools that sessions may share
	Threads       int  // of the shared pool; 0 is one for each core
	Spinning      bool // whether idle threads of the shared pool wait actively for a while
}

// ErrEnvironment is an environment that was made otherwise than it is asked for now.
var ErrEnvironment = errors.New("the first model of the process decides whether ONNX Runtime's threads are shared")

// Env is the process's environment, made by the first call.
func (a *API) Env(o EnvOptions) (Env, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.env != 0 {
		if o.SharedThreads && !a.shared {
			return 0, ErrEnvironment
		}
		return a.env, nil
	}
	id := cString("vitrine")
	if !o.SharedThreads {
		err := a.call("CreateEnv", fnCreateEnv, loggingError, uintptr(unsafe.Pointer(id)), uintptr(unsafe.Pointer(&a.env)))
		return a.env, err
	}
	var threading uintptr
	if err := a.call("CreateThreadingOptions", fnCreateThreadingOptions, uintptr(unsafe.Pointer(&threading))); err != nil {
		return 0, err
	}
	defer a.release(fnReleaseThreadingOptions, threading)
	err := errors.Join(
		a.call("SetGlobalIntraOpNumThreads", fnSetGlobalIntraOpNumThreads, threading, uintptr(o.Threads)),
		a.call("SetGlobalSpinControl", fnSetGlobalSpinControl, threading, truth(o.Spinning)),
	)
	if err == nil {
		err = a.call("CreateEnvWithGlobalThreadPools", fnCreateEnvWithGlobalThreadPools, loggingError, uintptr(unsafe.Pointer(id)), threading, uintptr(unsafe.Pointer(&a.env)))
	}
	a.shared = err == nil
	return a.env, err
}

func truth(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// Providers are the execution providers that the library was built with, by their full names. Whether
// one's own libraries are there shows when a session is made.
func (a *API) Providers() ([]string, error) {
	var list *[1 << 10]unsafe.Pointer
	var n int32
	if err := a.call("GetAvailableProviders", fnGetAvailableProviders, uintptr(unsafe.Pointer(&list)), uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i := range names {
		names[i] = text(uintptr(list[i]))
	}
	return names, a.call("ReleaseAvailableProviders", fnReleaseAvailableProviders, uintptr(unsafe.Pointer(list)), uintptr(n))
}

// NewSessionOptions makes options.
func (a *API) NewSessionOptions() (o SessionOptions, err error) {
	err = a.call("CreateSessionOptions", fnCreateSessionOptions, uintptr(unsafe.Pointer(&o)))
	return o, err
}

// ReleaseSessionOptions frees options.
func (a *API) ReleaseSessionOptions(o SessionOptions) { a.release(fnReleaseSessionOptions, uintptr(o)) }

// SetThreads sets the number of threads that compute one operator together.
func (a *API) SetThreads(o SessionOptions, n int) error {
	return a.call("SetIntraOpNumThreads", fnSetIntraOpNumThreads, uintptr(o), uintptr(n))
}

// ShareThreads makes the session use the environment's thread pools.
func (a *API) ShareThreads(o SessionOptions) error {
	return a.call("DisablePerSessionThreads", fnDisablePerSessionThreads, uintptr(o))
}

// SetSessionEntry sets a configuration entry (onnxruntime_session_options_config_keys.h).
func (a *API) SetSessionEntry(o SessionOptions, key, value string) error {
	return a.call("AddSessionConfigEntry "+key, fnAddSessionConfigEntry, uintptr(o), uintptr(unsafe.Pointer(cString(key))), uintptr(unsafe.Pointer(cString(value))))
}

// EnableProfiling makes the session write a trace to a file whose name begins with prefix.
func (a *API) EnableProfiling(o SessionOptions, prefix string) error {
	return a.call("EnableProfiling", fnEnableProfiling, uintptr(o), uintptr(unsafe.Pointer(cString(prefix))))
}

// settings are options as the library takes them: two arrays of strings, sorted by name.
type settings struct {
	keys, values         **byte
	n                    int
	keepKeys, keepValues []*byte
}

func newSettings(m map[string]string) (s settings) {
	names := slices.Sorted(maps.Keys(m))
	var values []string
	for _, k := range names {
		values = append(values, m[k])
	}
	s.n = len(names)
	s.keys, s.keepKeys = cStrings(names)
	s.values, s.keepValues = cStrings(values)
	return s
}

// AppendCUDA adds the CUDA execution provider.
func (a *API) AppendCUDA(o SessionOptions, options map[string]string) error {
	return a.appendOwn(o, options, "CUDA", fnCreateCUDAProviderOptions, fnUpdateCUDAProviderOptions, fnSessionOptionsAppendExecutionProvider_CUDA_V2, fnReleaseCUDAProviderOptions)
}

// AppendTensorRT adds the TensorRT execution provider.
func (a *API) AppendTensorRT(o SessionOptions, options map[string]string) error {
	return a.appendOwn(o, options, "TensorRT", fnCreateTensorRTProviderOptions, fnUpdateTensorRTProviderOptions, fnSessionOptionsAppendExecutionProvider_TensorRT_V2, fnReleaseTensorRTProviderOptions)
}

// appendOwn adds a provider that has options of its own kind.
func (a *API) appendOwn(o SessionOptions, options map[string]string, name string, create, update, appendTo, release function) error {
	var own uintptr
	if err := a.call("Create"+name+"ProviderOptions", create, uintptr(unsafe.Pointer(&own))); err != nil {
		return err
	}
	defer a.release(release, own)
	s := newSettings(options)
	defer runtime.KeepAlive(&s)
	if s.n > 0 {
		if err := a.call("Update"+name+"ProviderOptions", update, own, uintptr(unsafe.Pointer(s.keys)), uintptr(unsafe.Pointer(s.values)), uintptr(s.n)); err != nil {
			return err
		}
	}
	return a.call("SessionOptionsAppendExecutionProvider_"+name+"_V2", appendTo, uintptr(o), own)
}

// AppendOpenVINO adds the OpenVINO execution provider that the library was built with.
func (a *API) AppendOpenVINO(o SessionOptions, options map[string]string) error {
	s := newSettings(options)
	defer runtime.KeepAlive(&s)
	return a.call("SessionOptionsAppendExecutionProvider_OpenVINO_V2", fnSessionOptionsAppendExecutionProvider_OpenVINO_V2, uintptr(o),
		uintptr(unsafe.Pointer(s.keys)), uintptr(unsafe.Pointer(s.values)), uintptr(s.n))
}

// RegisterPlugin loads an execution provider's library under a name; its devices have that name then.
func (a *API) RegisterPlugin(e Env, name, path string) error {
	return a.call("RegisterExecutionProviderLibrary", fnRegisterExecutionProviderLibrary, uintptr(e), uintptr(unsafe.Pointer(cString(name))), uintptr(unsafe.Pointer(cString(path))))
}

// Device is a device of an execution provider. 0 is none.
type Device uintptr

// processorDevice is OrtHardwareDeviceType_CPU.
const processorDevice = 0

// PluginDevice finds the processor among the devices of a registered provider that has one of the names; 0
// is a provider that does not take it.
func (a *API) PluginDevice(e Env, names []string) (Device, error) {
	var list *[1 << 10]uintptr
	var n uintptr
	if err := a.call("GetEpDevices", fnGetEpDevices, uintptr(e), uintptr(unsafe.Pointer(&list)), uintptr(unsafe.Pointer(&n))); err != nil {
		return 0, err
	}
	for i := range min(n, uintptr(len(list))) {
		hardware := dynlib.Call(a.table[fnEpDevice_Device], list[i])
		if int32(dynlib.Call(a.table[fnHardwareDevice_Type], hardware)) == processorDevice && slices.Contains(names, text(dynlib.Call(a.table[fnEpDevice_EpName], list[i]))) {
			return Device(list[i]), nil
		}
	}
	return 0, nil
}

// AppendPlugin adds a device of a registered provider.
func (a *API) AppendPlugin(o SessionOptions, e Env, d Device, options map[string]string) error {
	device := []uintptr{uintptr(d)}
	s := newSettings(options)
	defer runtime.KeepAlive(&s)
	return a.call("SessionOptionsAppendExecutionProvider_V2", fnSessionOptionsAppendExecutionProvider_V2, uintptr(o), uintptr(e),
		uintptr(unsafe.Pointer(&device[0])), 1, uintptr(unsafe.Pointer(s.keys)), uintptr(unsafe.Pointer(s.values)), uintptr(s.n))
}

// NewSession loads a model's file.
func (a *API) NewSession(e Env, path string, o SessionOptions) (s Session, err error) {
	err = a.call("CreateSession", fnCreateSession, uintptr(e), uintptr(unsafe.Pointer(cString(path))), uintptr(o), uintptr(unsafe.Pointer(&s)))
	return s, err
}

// ReleaseSession frees a session that no Run uses.
func (a *API) ReleaseSession(s Session) { a.release(fnReleaseSession, uintptr(s)) }

// EndProfiling ends the session's trace and returns its file.
func (a *API) EndProfiling(s Session) (string, error) {
	var allocator, name uintptr
	if err := a.call("GetAllocatorWithDefaultOptions", fnGetAllocatorWithDefaultOptions, uintptr(unsafe.Pointer(&allocator))); err != nil {
		return "", err
	}
	if err := a.call("SessionEndProfiling", fnSessionEndProfiling, uintptr(s), allocator, uintptr(unsafe.Pointer(&name))); err != nil {
		return "", err
	}
	path := text(name)
	return path, a.call("AllocatorFree", fnAllocatorFree, allocator, name)
}

// NewRunOptions makes options of one run at a time.
func (a *API) NewRunOptions() (o RunOptions, err error) {
	err = a.call("CreateRunOptions", fnCreateRunOptions, uintptr(unsafe.Pointer(&o)))
	return o, err
}

// ReleaseRunOptions frees options.
func (a *API) ReleaseRunOptions(o RunOptions) { a.release(fnReleaseRunOptions, uintptr(o)) }

// SetRunEntry sets a configuration entry (onnxruntime_run_options_config_keys.h).
func (a *API) SetRunEntry(o RunOptions, key, value string) error {
	return a.call("AddRunConfigEntry "+key, fnAddRunConfigEntry, uintptr(o), uintptr(unsafe.Pointer(cString(key))), uintptr(unsafe.Pointer(cString(value))))
}

// Terminate makes the run with these options end soon with an error, from any goroutine.
func (a *API) Terminate(o RunOptions) error {
	return a.call("RunOptionsSetTerminate", fnRunOptionsSetTerminate, uintptr(o))
}

// Unterminate takes Terminate back.
func (a *API) Unterminate(o RunOptions) error {
	return a.call("RunOptionsUnsetTerminate", fnRunOptionsUnsetTerminate, uintptr(o))
}

// HostMemory describes the processor's memory.
func (a *API) HostMemory() (m MemoryInfo, err error) {
	err = a.call("CreateCpuMemoryInfo", fnCreateCpuMemoryInfo, arenaAllocator, memoryTypeDefault, uintptr(unsafe.Pointer(&m)))
	return m, err
}

// CUDAMemory describes a CUDA device's memory.
func (a *API) CUDAMemory(device int) (m MemoryInfo, err error) {
	err = a.call("CreateMemoryInfo", fnCreateMemoryInfo, uintptr(unsafe.Pointer(cString("Cuda"))), deviceAllocator, uintptr(device), memoryTypeDefault, uintptr(unsafe.Pointer(&m)))
	return m, err
}

// ReleaseMemoryInfo frees a description.
func (a *API) ReleaseMemoryInfo(m MemoryInfo) { a.release(fnReleaseMemoryInfo, uintptr(m)) }

// NewTensor is a tensor over memory that stays the caller's: size bytes at an address that must not move
// or vanish while the tensor lives.
func (a *API) NewTensor(m MemoryInfo, address uintptr, size int, shape []int64, e Element) (v Value, err error) {
	err = a.call("CreateTensorWithDataAsOrtValue", fnCreateTensorWithDataAsOrtValue, uintptr(m), address, uintptr(size),
		uintptr(unsafe.Pointer(&shape[0])), uintptr(len(shape)), uintptr(e), uintptr(unsafe.Pointer(&v)))
	return v, err
}

// ReleaseValue frees a tensor, not its memory.
func (a *API) ReleaseValue(v Value) { a.release(fnReleaseValue, uintptr(v)) }

// NewBinding makes a binding of one session's inputs and outputs.
func (a *API) NewBinding(s Session) (b Binding, err error) {
	err = a.call("CreateIoBinding", fnCreateIoBinding, uintptr(s), uintptr(unsafe.Pointer(&b)))
	return b, err
}

// ReleaseBinding frees a binding.
func (a *API) ReleaseBinding(b Binding) { a.release(fnReleaseIoBinding, uintptr(b)) }

// BindInput binds a tensor to an input.
func (a *API) BindInput(b Binding, name string, v Value) error {
	return a.call("BindInput "+name, fnBindInput, uintptr(b), uintptr(unsafe.Pointer(cString(name))), uintptr(v))
}

// BindOutput binds a tensor to an output.
func (a *API) BindOutput(b Binding, name string, v Value) error {
	return a.call("BindOutput "+name, fnBindOutput, uintptr(b), uintptr(unsafe.Pointer(cString(name))), uintptr(v))
}

// Run computes what is bound.
func (a *API) Run(s Session, o RunOptions, b Binding) error {
	return a.call("RunWithBinding", fnRunWithBinding, uintptr(s), uintptr(o), uintptr(b))
}

// SynchronizeOutputs waits until the bound outputs are there.
func (a *API) SynchronizeOutputs(b Binding) error {
	return a.call("SynchronizeBoundOutputs", fnSynchronizeBoundOutputs, uintptr(b))
}
