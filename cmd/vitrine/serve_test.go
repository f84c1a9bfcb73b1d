package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/model"
)

// running is a server in a process of its own.
type running struct {
	t            *testing.T
	cmd          *exec.Cmd
	url, metrics string
	grpc         string      // its address
	out          []string    // standard output until it was ready
	log          chan string // lines of standard error
	ready        chan struct{}
	done         chan struct{}
	code         int
}

// start starts a server on free ports and waits until it is ready.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	r := launch(t, args...)
	<-r.ready
	if r.metrics == "" {
		<-r.done
		t.Fatalf("not ready, exit code %d:\n%s", r.code, strings.Join(r.rest(), "\n"))
	}
	return r
}

// launch starts a server on free ports.
func launch(t *testing.T, args ...string) *running {
	t.Helper()
	c := vitrine(t, append([]string{"serve", "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"}, args...)...)
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, cmd: c, log: make(chan string, 10000), ready: make(chan struct{}), done: make(chan struct{})}
	var outputs sync.WaitGroup
	outputs.Go(func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			r.log <- s.Text()
		}
		close(r.log)
	})
	outputs.Go(func() {
		lines := bufio.NewScanner(stdout)
		for r.metrics == "" && lines.Scan() {
			r.readLine(lines.Text())
		}
		close(r.ready)
		_, _ = io.Copy(io.Discard, stdout)
	})
	go func() {
		outputs.Wait()
		_ = c.Wait() // the code tells
		r.code = c.ProcessState.ExitCode()
		close(r.done)
	}()
	t.Cleanup(func() { _ = c.Process.Kill(); <-r.done })
	return r
}

var address = regexp.MustCompile(`https?://[^ /]+`)

func (r *running) readLine(line string) {
	r.out = append(r.out, line)
	switch {
	case strings.HasPrefix(line, "ready on "):
		r.url = address.FindString(line)
	case strings.HasPrefix(line, "gRPC on "):
		r.grpc = strings.TrimPrefix(line, "gRPC on ")
	case strings.HasPrefix(line, "metrics on "):
		r.metrics = address.FindString(line)
	}
}

// rest are the lines of the log that nobody has read, until it ends.
func (r *running) rest() (all []string) {
	for line := range r.log {
		all = append(all, line)
	}
	return all
}

// waitFor reads the log up to a line that holds text.
func (r *running) waitFor(text string) {
	r.t.Helper()
	for line := range r.log {
		if strings.Contains(line, text) {
			return
		}
	}
	r.t.Fatalf("the log ended without %q", text)
}

func (r *running) signal() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) exit(want int) {
	r.t.Helper()
	<-r.done
	if r.code != want {
		r.t.Errorf("exit code %d, want %d:\n%s", r.code, want, strings.Join(r.rest(), "\n"))
	}
}

// do makes a request and returns status, header and body.
func do(t *testing.T, method, url string, body io.Reader) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

func photo(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(photos, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type embeddings struct {
	Embeddings [][]float64
	ModelInfo  struct {
		ModelName string `json:"model_name"`
		Synthetic bool
		SpaceID   string `json:"space_id"`
	} `json:"model_info"`
}

func TestServeTinyModel(t *testing.T) {
	r := start(t, "--model", filepath.Join(models, "tiny-quickgelu"), "--precision", "fp32")
	if !strings.Contains(strings.Join(r.out, "\n"), "try: curl --data-binary @photo.jpg "+r.url+"/embed") {
		t.Errorf("no example in %q", r.out)
	}
	if !strings.Contains(r.out[0], "(openclip_vit_") { // the folder does not tell open_clip's name
		t.Errorf("the model is not named in %q", r.out[0])
	}
	status, _, body := do(t, "POST", r.url+"/embed", bytes.NewReader(photo(t, "chelsea.png")))
	var got embeddings
	if err := json.Unmarshal(body, &got); err != nil || status != http.StatusOK || len(got.Embeddings) != 1 {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	text, err := os.ReadFile(filepath.Join(models, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Models map[string]struct{ Photos map[string][]float64 }
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(got.Embeddings[0]))
	for i, x := range got.Embeddings[0] {
		v[i] = float32(x)
	}
	if c := cosine(v, expected.Models["tiny-quickgelu"].Photos["chelsea.png"]); !(c > 0.99999) {
		t.Errorf("cosine %v with open_clip", c)
	}
	r.signal()
	r.exit(exitOK)
}

func TestServe(t *testing.T) {
	config := filepath.Join(t.TempDir(), "vitrine.yaml")
	if err := os.WriteFile(config, []byte("version: 1\nengine: null\nmax-body: 1KiB\nlog-format: text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VITRINE_CONFIG", config)
	t.Setenv("VITRINE_MAX_BODY", "1MiB")
	r := start(t, "--log-format", "json")
	for _, base := range []string{r.url, r.metrics} {
		for _, path := range []string{"/health", "/healthz", "/readyz"} {
			if status, _, body := do(t, "GET", base+path, nil); status != http.StatusOK {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	}
	jpeg := photo(t, "astronaut.jpg")
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 8 {
				resp, err := http.Post(r.url+"/embed", "", bytes.NewReader(jpeg))
				if err != nil {
					t.Error(err)
					return
				}
				var got embeddings
				err = json.NewDecoder(resp.Body).Decode(&got)
				if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK || len(got.Embeddings[0]) != 512 {
					t.Errorf("%d, %v", resp.StatusCode, err)
				}
			}
		})
	}
	clients.Wait()
	for _, c := range []struct {
		body []byte
		want int
	}{
		{[]byte("no image"), http.StatusUnsupportedMediaType},
		{jpeg[:len(jpeg)/2], http.StatusUnprocessableEntity},
		{bytes.Repeat([]byte{0}, 1<<20+1), http.StatusRequestEntityTooLarge},
		{jpeg, http.StatusOK},
	} {
		if status, _, body := do(t, "POST", r.url+"/embed", bytes.NewReader(c.body)); status != c.want {
			t.Errorf("%d bytes: %d, want %d: %.200s", len(c.body), status, c.want, body)
		}
	}
	for _, want := range []string{
		`nv_inference_count{model="openclip_vit_b32",version="1"} 65`,
		`vitrine_request_duration_seconds_count{code="200",protocol="http",route="/embed"} 65`,
	} {
		for metrics := ""; !strings.Contains(metrics, want); { // counted after the answer is sent
			_, _, body := do(t, "GET", r.metrics+"/metrics", nil)
			metrics = string(body)
		}
	}
	r.signal()
	r.exit(exitOK)
	for _, line := range r.rest() {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// TestDrain sends half a request, asks the server to stop, and then sends the other half.
func TestDrain(t *testing.T) {
	r := start(t, "--engine", "null", "--drain-delay", "1s")
	jpeg := photo(t, "astronaut.jpg")
	body, half := io.Pipe()
	answered := make(chan int)
	go func() {
		req, err := http.NewRequest("POST", r.url+"/embed", body)
		if err != nil {
			t.Error(err)
			return
		}
		req.ContentLength = int64(len(jpeg))
		req.Header.Set("Expect", "100-continue")
		resp, err := patient().Do(req)
		if err != nil {
			t.Error(err)
			close(answered)
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	if _, err := half.Write(jpeg[:20000]); err != nil {
		t.Fatal(err)
	}
	r.signal()
	r.waitFor("draining")
	if status, _, body := do(t, "GET", r.url+"/readyz", nil); status != http.StatusServiceUnavailable {
		t.Errorf("ready while draining: %d %s", status, body)
	}
	if status, _, _ := do(t, "POST", r.url+"/embed", bytes.NewReader(jpeg)); status != http.StatusOK {
		t.Errorf("refused before --drain-delay was over: %d", status)
	}
	if _, err := half.Write(jpeg[20000:]); err != nil {
		t.Fatal(err)
	}
	half.Close()
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the accepted request got %d", status)
	}
	r.exit(exitOK)
	if _, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://")); err == nil {
		t.Error("the door is still open")
	}
}

// patient is a client that sends a body with "Expect: 100-continue" when the server reads it: once the
// first byte is taken, the request has been accepted.
func patient() *http.Client {
	return &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
}

func TestASecondSignalStopsAtOnce(t *testing.T) {
	r := start(t, "--engine", "null", "--drain-delay", "1h")
	r.signal()
	r.waitFor("draining")
	r.signal()
	r.exit(exitInterrupted)
}

func TestASignalWhileTheModelLoads(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 88 million weights")
	}
	r := launch(t, "--model", "synthetic")
	r.waitFor("start: listening")
	r.signal()
	r.waitFor("stopped before the model was loaded")
	r.exit(exitOK)
}

// halfSent starts a request to the server and returns once the start of its body is on its way; the rest
// never comes. The channel gets its answer, if there is one.
func halfSent(t *testing.T, client *http.Client, url string, header http.Header, start []byte) <-chan *http.Response {
	t.Helper()
	body, half := io.Pipe()
	t.Cleanup(func() { half.Close() })
	answers := make(chan *http.Response, 1)
	go func() {
		defer close(answers)
		req, err := http.NewRequest("POST", url, body)
		if err != nil {
			t.Error(err)
			return
		}
		req.ContentLength, req.Header = 100_000, header
		if resp, err := client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // the trailers come after it
			resp.Body.Close()
			answers <- resp
		}
	}()
	if _, err := half.Write(start); err != nil {
		t.Fatal(err)
	}
	return answers
}

// TestDrainRefusesWhatNeverArrives leaves requests half sent: they do not hold the server up until --drain-timeout,
// and are no failure.
func TestDrainRefusesWhatNeverArrives(t *testing.T) {
	r := start(t, "--engine", "null", "--grpc", "127.0.0.1:0", "--drain-timeout", "4s", "--body-timeout", "10m")
	embed := halfSent(t, patient(), r.url+"/embed", http.Header{"Expect": {"100-continue"}}, make([]byte, 20000))
	service, client := "http://"+r.grpc+"/inference.GRPCInferenceService/", http2Client()
	header := http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	infer := halfSent(t, client, service+"ModelInfer", header, []byte("\x00\x00\x01\x00\x00half"))
	// A further call of the connection is answered: the server has the start of the one before.
	req, err := http.NewRequest("POST", service+"ServerLive", strings.NewReader("\x00\x00\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r.signal()
	r.waitFor("requests that have not wholly arrived are refused")
	if resp := <-embed; resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/embed: %v", resp)
	}
	if resp := <-infer; resp == nil || resp.Trailer.Get("Grpc-Status")+resp.Header.Get("Grpc-Status") != "14" {
		t.Errorf("gRPC: %v", resp)
	}
	r.exit(exitOK)
}

// http2Client speaks HTTP/2 without TLS, as gRPC does.
func http2Client() *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: transport}
}

// TestUnansweredRequestsAreAFailure has a batch of two wait for what would make it one of a preferred size; the
// images of the warm-up are of that size.
func TestUnansweredRequestsAreAFailure(t *testing.T) {
	r := start(t, "--engine", "null", "--preferred-batch-size", "1", "--max-queue-delay", "1h", "--drain-timeout", "100ms")
	go func() {
		body := `{"inputs":[{"name":"image","datatype":"UINT8","shape":[2,1,1,3],"data":[1,2,3,4,5,6]}]}`
		if resp, err := http.Post(r.url+"/v2/models/openclip_vit_b32_u8/infer", "application/json", strings.NewReader(body)); err == nil {
			resp.Body.Close()
		}
	}()
	waits := regexp.MustCompile(`nv_inference_pending_request_count\{.*\} 1\n`)
	for waiting := false; !waiting; {
		_, _, body := do(t, "GET", r.metrics+"/metrics", nil)
		waiting = waits.Match(body)
	}
	r.signal()
	r.exit(exitFailure)
}

func TestAPortThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, flag := range []string{"--http", "--metrics"} {
		args := []string{"serve", "--engine", "null", "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0", flag, l.Addr().String()}
		call(t, args...).want(t, exitFailure, flag+" "+l.Addr().String()+": the port is taken")
	}
}

func TestAWrongSpaceDoesNotStart(t *testing.T) {
	call(t, "serve", "--engine", "null", "--space", "vsp1-0", "--http", "127.0.0.1:0", "--metrics", "off").
		want(t, exitFailure, "--space vsp1-0 is wanted")
}

func TestWhileTheModelLoads(t *testing.T) {
	o := &serveOptions{http: "127.0.0.1:0", metrics: "127.0.0.1:0"}
	s, err := newServer(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.hangUp()
	s.data.start()
	s.admin.start()
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/model-info": 503, "/nowhere": 404, "/v1/models": 503} {
		if status, _, body := do(t, "GET", s.data.url()+path, nil); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
	status, header, body := do(t, "POST", s.data.url()+"/embed/base64", strings.NewReader("{}"))
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(string(body), "loading") {
		t.Errorf("%d %v %s", status, header, body)
	}
	if status, _, _ := do(t, "GET", s.admin.url()+"/metrics", nil); status != http.StatusOK {
		t.Errorf("metrics: %d", status)
	}
}

// unreachableHub makes the hub an address on this machine where nobody listens.
func unreachableHub(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HF_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_CACHE", filepath.Join(t.TempDir(), "hub"))
	l.Close()
}

func TestWithoutANetworkLoopbackGetsSyntheticWeights(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 88 million weights")
	}
	unreachableHub(t)
	r := start(t)
	r.waitFor("SYNTHETIC WEIGHTS")
	if !strings.Contains(strings.Join(r.out, "\n"), "SYNTHETIC WEIGHTS") {
		t.Errorf("not said on standard output: %q", r.out)
	}
	status, header, body := do(t, "POST", r.url+"/embed", bytes.NewReader(photo(t, "coffee.jpg")))
	var got embeddings
	if err := json.Unmarshal(body, &got); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	if header.Get("X-Vitrine-Synthetic") != "true" || !got.ModelInfo.Synthetic || got.ModelInfo.ModelName != "ViT-B-32" {
		t.Errorf("not said in the answer: %v, %+v", header, got.ModelInfo)
	}
	r.signal()
	r.exit(exitOK)
}

func TestWithoutANetworkNothingElseFallsBack(t *testing.T) {
	unreachableHub(t)
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"open to others":    {"serve", "--http", "0.0.0.0:0", "--metrics", "off"},
		"open metrics":      {"serve", "--http", "127.0.0.1:0", "--metrics", ":0"},
		"asked for by name": {"serve", "--http", "127.0.0.1:0", "--metrics", "off", "--model", model.Default},
		"a space is wanted": {"serve", "--http", "127.0.0.1:0", "--metrics", "off", "--space", "vsp1-0"},
		"embed":             {"embed", photos, "--output", filepath.Join(dir, "out.npy")},
		"inspect":           {"model", "inspect"},
	} {
		t.Run(name, func(t *testing.T) { call(t, args...).want(t, exitFailure, "no network") })
	}
}

func TestLoopbackOnly(t *testing.T) {
	for _, c := range []struct {
		addresses []string
		want      bool
	}{
		{[]string{"127.0.0.1:8000", "localhost:8002"}, true},
		{[]string{"[::1]:8000", "off"}, true},
		{[]string{"127.8.9.10:80"}, true},
		{[]string{"127.0.0.1:8000", "0.0.0.0:8002"}, false},
		{[]string{":8000"}, false},
		{[]string{"[::]:8000"}, false},
		{[]string{"192.168.1.2:8000"}, false},
		{[]string{"myhost:8000"}, false},
		{[]string{"localhost.example.com:8000"}, false},
	} {
		if got := loopbackOnly(c.addresses...); got != c.want {
			t.Errorf("loopbackOnly(%q) = %v", c.addresses, got)
		}
	}
}

func TestProtocolName(t *testing.T) {
	for in, want := range map[string]string{
		"ViT-B-32": "openclip_vit_b32", "ViT-L-14-336": "openclip_vit_l14_336", "ViT-B-32-quickgelu": "openclip_vit_b32_quickgelu",
		"ViT-64x2-p16-224": "openclip_vit_64x2_p16_224",
	} {
		if got := protocolName(&model.Model{Source: model.Source{ModelName: in}}); got != want {
			t.Errorf("%s is called %s, want %s", in, got, want)
		}
	}
}

func TestSyntheticReference(t *testing.T) {
	for _, c := range []struct {
		m    modelFlags
		want string
	}{
		{modelFlags{reference: "synthetic"}, "synthetic"},
		{modelFlags{reference: "synthetic", seed: 3, outliers: true}, "synthetic?outliers=1&seed=3"},
		{modelFlags{reference: "synthetic:ViT-B-16?seed=1", outliers: true}, "synthetic:ViT-B-16?seed=1&outliers=1"},
		{modelFlags{reference: "./synthetic-folder", seed: 3}, "./synthetic-folder"},
		{modelFlags{reference: "synthetics", seed: 3}, "synthetics"},
	} {
		if got := c.m.full(); got != c.want {
			t.Errorf("%+v is %s, want %s", c.m, got, c.want)
		}
	}
}

func TestADownloadNobodyWatchesIsLogged(t *testing.T) {
	var text bytes.Buffer
	report := loggedProgress(slog.New(slog.NewTextHandler(&text, nil)))
	for done := range int64(101) {
		report("weights", done, 100)
	}
	report("config", 1, 1)
	if n := strings.Count(text.String(), "\n"); n != 3 || !strings.Contains(text.String(), "file=weights bytes=100 of=100") {
		t.Errorf("%d lines:\n%s", n, &text)
	}
}

func TestCgroupLimit(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	limit, none := file("limit", "2147483648\n"), file("max", "max\n")
	v1none, absent := file("v1", "9223372036854771712\n"), filepath.Join(dir, "absent")
	for _, c := range []struct {
		paths []string
		want  int64
	}{
		{[]string{limit}, 2 << 30}, {[]string{none, limit}, 0}, {[]string{absent, limit}, 2 << 30},
		{[]string{absent, v1none}, 0}, {[]string{absent}, 0},
	} {
		if got := cgroupLimit(c.paths...); got != c.want {
			t.Errorf("cgroupLimit(%q) = %d, want %d", c.paths, got, c.want)
		}
	}
}

func TestModelInspectAndExport(t *testing.T) {
	tiny := filepath.Join(models, "tiny-gelu")
	var first, second inspection
	r := call(t, "model", "inspect", tiny, "--json")
	r.want(t, exitOK, "")
	if err := json.Unmarshal([]byte(r.out), &first); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "exported")
	call(t, "model", "export", tiny, "--format", "safetensors", "--output", dir).want(t, exitOK, "")
	r = call(t, "model", "inspect", dir, "--json")
	r.want(t, exitOK, "")
	if err := json.Unmarshal([]byte(r.out), &second); err != nil {
		t.Fatal(err)
	}
	if first.WeightsHash != second.WeightsHash || first.Spaces["fp32"] != second.Spaces["fp32"] || first.Parameters == 0 {
		t.Errorf("exported: %s in space %s, want %s in %s", second.WeightsHash, second.Spaces["fp32"], first.WeightsHash, first.Spaces["fp32"])
	}
	if first.Spaces["fp32"] == first.Spaces["bf16"] || math.Abs(float64(first.FLOPs)) < 1e6 {
		t.Errorf("%+v", first)
	}
	r = call(t, "model", "inspect", tiny, "--tensors")
	r.want(t, exitOK, "")
	for _, want := range []string{"GFLOP an image", "space fp32", "visual.proj", first.WeightsHash} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
}

func TestAFolderAnswersToTheNamesItIsGiven(t *testing.T) {
	s := start(t, "--model", filepath.Join("..", "..", "testdata", "models", "tiny-quickgelu"), "--model-name", "ViT-B-32", "--pretrained", "openai")
	body := `{"images":[],"model_name":"ViT-B-32","pretrained":"laion2b_s34b_b79k"}`
	answer, err := http.Post(s.url+"/embed/base64", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(`this server has \"openai\"`)) || bytes.Contains(text, []byte(`ViT-B-32`)) {
		t.Errorf("answer %s: want the tag refused and the name taken", text)
	}
}
