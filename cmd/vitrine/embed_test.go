package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/vectorfile"
)

const (
	photos = "../../testdata/photos"
	models = "../../testdata/models"
)

// readNPY reads what vectorfile wrote; that NumPy reads the same is vectorfile's own test.
func readNPY(t *testing.T, path string) [][]float32 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows, dim int
	shape := b[bytes.Index(b, []byte("'shape': ("))+len("'shape': "):]
	if _, err := fmt.Sscanf(string(shape), "(%d, %d)", &rows, &dim); err != nil {
		t.Fatal(err)
	}
	data := b[10+int(binary.LittleEndian.Uint16(b[8:])):]
	if len(data) != 4*rows*dim {
		t.Fatalf("%d bytes for %d x %d", len(data), rows, dim)
	}
	all := make([][]float32, rows)
	for i := range all {
		all[i] = make([]float32, dim)
		for j := range all[i] {
			all[i][j] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*(i*dim+j):]))
		}
	}
	return all
}

type indexRow struct {
	Row         int
	Path, Error string
}

func readIndex(t *testing.T, path string) (info vectorfile.Info, rows []indexRow) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&info); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		var r indexRow
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return info, rows
}

func cosine(a []float32, b []float64) float64 {
	var ab, aa, bb float64
	for i := range a {
		x := float64(a[i])
		ab, aa, bb = ab+x*b[i], aa+x*x, bb+b[i]*b[i]
	}
	return ab / math.Sqrt(aa*bb)
}

// TestEmbeddingsAreOpenCLIPs compares with embeddings that open_clip and Pillow computed from the same
// weights and photographs (testdata/models/make.py).
func TestEmbeddingsAreOpenCLIPs(t *testing.T) {
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
	least := map[string]float64{".png": 0.99999, ".jpg": 0.9999, ".webp": 0.9999}
	for name, m := range expected.Models {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.npy")
			call(t, "embed", "--model", filepath.Join(models, name), "--precision", "fp32", "--output", out, photos).want(t, exitOK, "rows of")
			vectors := readNPY(t, out)
			info, index := readIndex(t, out+".index.jsonl")
			if info.Space == "" || info.Dim != len(vectors[0]) || !info.Normalized || info.Precision != "fp32" {
				t.Errorf("the index says %+v", info)
			}
			if len(index) != len(m.Photos) || len(index) != len(vectors) {
				t.Fatalf("%d index lines, %d vectors, %d photographs", len(index), len(vectors), len(m.Photos))
			}
			for i, row := range index {
				photo := filepath.Base(row.Path)
				want, ok := m.Photos[photo]
				if !ok {
					t.Errorf("%s: nothing to compare with", photo)
					continue
				}
				if c := cosine(vectors[i], want); !(c > least[filepath.Ext(photo)]) {
					t.Errorf("%s: cosine %.7f, want more than %v", photo, c, least[filepath.Ext(photo)])
				}
				var norm float64
				for _, v := range vectors[i] {
					norm += float64(v) * float64(v)
				}
				if math.Abs(norm-1) > 1e-5 {
					t.Errorf("%s: squared norm %v", photo, norm)
				}
			}
		})
	}
}

func TestBatchedEqualsSingle(t *testing.T) {
	dir := t.TempDir()
	var results [][][]float32
	for _, batch := range []string{"1", "8"} {
		out := filepath.Join(dir, batch+".npy")
		call(t, "embed", "--model", filepath.Join(models, "tiny-gelu"), "--precision", "fp32", "--normalize=false",
			"--max-batch-size", batch, "-o", out, photos).want(t, exitOK, "")
		results = append(results, readNPY(t, out))
	}
	for i, v := range results[0] {
		other := make([]float64, len(v))
		for j := range v {
			other[j] = float64(results[1][i][j])
		}
		if c := cosine(v, other); c < 0.99999 {
			t.Errorf("row %d: cosine %v between batch 1 and 8", i, c)
		}
	}
}

// badFolder is a folder with two good images among bad ones.
func badFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	good, err := os.ReadFile(filepath.Join(photos, "chelsea.png"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"a.png": good, "b-truncated.png": good[:len(good)/2], "c-text.jpg": []byte("not an image"),
		"d-empty.gif": {}, "sub/e.PNG": good, "sub/notes.txt": []byte("left out"), ".hidden.png": good, ".git/f.png": good,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestABadFileKeepsItsRow(t *testing.T) {
	dir := badFolder(t)
	out := filepath.Join(t.TempDir(), "out.npy")
	r := call(t, "embed", "--engine", "null", "-o", out, filepath.Join(dir, "none.jpg"), dir)
	r.want(t, exitPartial, "4 of 6 images failed")
	vectors := readNPY(t, out)
	_, index := readIndex(t, out+".index.jsonl")
	var got []string
	for i, row := range index {
		path := strings.TrimPrefix(row.Path, dir+string(filepath.Separator))
		nan := math.IsNaN(float64(vectors[i][0]))
		if nan != (row.Error != "") || row.Row != i {
			t.Errorf("row %d: NaN %v, index %+v", i, nan, row)
		}
		if row.Error != "" {
			path += " failed"
			if !strings.Contains(r.err, fmt.Sprintf("row %d  %s: %s\n", i, row.Path, row.Error)) {
				t.Errorf("row %d is not named in:\n%s", i, r.err)
			}
		}
		got = append(got, filepath.ToSlash(path))
	}
	want := []string{"none.jpg failed", "a.png", "b-truncated.png failed", "c-text.jpg failed", "d-empty.gif failed", "sub/e.PNG"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFormat(t *testing.T) {
	dir := t.TempDir()
	for _, ext := range []string{".npy", ".jsonl", ".parquet"} {
		out := filepath.Join(dir, "out"+ext)
		call(t, "embed", "--engine", "null", "-o", out, photos).want(t, exitOK, out+": 7 rows of 512 floats, space vsp1-")
		if st, err := os.Stat(out); err != nil || st.Size() < 7*512*4 {
			t.Errorf("%s: %v, %v", out, st, err)
		}
		call(t, "embed", "--engine", "null", "-o", out, photos).want(t, exitUsage, "--overwrite replaces it")
		call(t, "embed", "--engine", "null", "-o", out, "--overwrite", photos).want(t, exitOK, "7 rows")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*partial*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAnotherSpaceIsRefused(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.npy")
	call(t, "embed", "--engine", "null", "--space", "vsp1-0", "-o", out, photos).want(t, exitFailure, "--space vsp1-0 is wanted")
}

// fakeModel answers with the first byte of each item, in its own order and time.
type fakeModel struct {
	before func(*service.Request) error
}

func (fakeModel) Ready() bool { return true }
func (fakeModel) Metadata() service.Metadata {
	return service.Metadata{Space: "s", Dim: 1, MaxBatch: 2, Instances: 1}
}

func (m fakeModel) Infer(ctx context.Context, r *service.Request) (*service.Response, error) {
	if m.before != nil {
		if err := m.before(r); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Of(err)
	}
	results := make([]service.Result, len(r.Items))
	for i, it := range r.Items {
		if it.Data[0] == 'x' {
			results[i].Err = fault.New(fault.Invalid, "corrupt").In("files").At(i)
			continue
		}
		results[i].Embedding = []float32{float32(it.Data[0])}
	}
	return &service.Response{Results: results}, nil
}

// letters writes a file for each letter and returns their paths in that order.
func letters(t *testing.T, text string) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, c := range text {
		path := filepath.Join(dir, fmt.Sprintf("%03d", i))
		if err := os.WriteFile(path, []byte(string(c)), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestRowsStayInOrder(t *testing.T) {
	files := letters(t, "abcdefghijxlmnopqrstu")
	first := make(chan struct{})
	m := fakeModel{before: func(r *service.Request) error {
		switch r.Items[0].Data[0] {
		case 'a':
			<-first // the first request is answered after the second
		case 'c':
			close(first)
		}
		return nil
	}}
	e := &embedder{model: m, chunk: 2, inFlight: 3, maxBytes: 10}
	var got strings.Builder
	err := e.run(t.Context(), files, func(rows []vectorfile.Row) error {
		for _, r := range rows {
			if r.Err != "" {
				fmt.Fprintf(&got, "(%s)", r.Err)
				continue
			}
			got.WriteByte(byte(r.Vector[0]))
		}
		return nil
	})
	if want := "abcdefghij(corrupt)lmnopqrstu"; err != nil || got.String() != want {
		t.Errorf("got %s, %v; want %s", got.String(), err, want)
	}
}

func TestAFailingEngineStopsTheRun(t *testing.T) {
	broken := fault.New(fault.Unavailable, "the engine is gone")
	m := fakeModel{before: func(r *service.Request) error {
		if r.Items[0].Data[0] == 'e' {
			return broken
		}
		return nil
	}}
	e := &embedder{model: m, chunk: 2, inFlight: 2, maxBytes: 10}
	rows := 0
	err := e.run(t.Context(), letters(t, "abcdefgh"), func(r []vectorfile.Row) error { rows += len(r); return nil })
	if !errors.Is(err, broken) || rows != 4 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestAnInterruptedEmbedGoesOn(t *testing.T) {
	files := letters(t, "abcdefghijxl")
	report, err := os.CreateTemp(t.TempDir(), "report")
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	o := &embedOptions{normalize: true, output: filepath.Join(t.TempDir(), "out.jsonl"), every: time.Hour}
	o.image.maxBytes = 10

	ctx, cancel := context.WithCancelCause(t.Context())
	m := fakeModel{before: func(r *service.Request) error {
		if r.Items[0].Data[0] == 'g' {
			cancel(interrupted{syscall.SIGINT})
		}
		return nil
	}}
	if err := embedTo(ctx, o, m, files, report); exitCode(err) != exitInterrupted {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(o.output); err == nil {
		t.Fatal("an incomplete file has the final name")
	}
	asked := make(chan byte, len(files))
	m.before = func(r *service.Request) error { asked <- r.Items[0].Data[0]; return nil }
	e := embedTo(t.Context(), o, m, files, report)
	if exitCode(e) != exitPartial {
		t.Fatalf("got %v", e)
	}
	close(asked)
	for first := range asked {
		if first == 'a' {
			t.Error("began anew")
		}
	}
	text, err := os.ReadFile(o.output)
	if err != nil || strings.Count(string(text), "\n") != len(files) {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestAKilledEmbedGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("embeds some thousand images")
	}
	dir := t.TempDir()
	list := filepath.Join(dir, "list")
	line := filepath.Join(photos, "chelsea.png") + "\n" + filepath.Join(photos, "none.png") + "\n"
	if err := os.WriteFile(list, []byte(strings.Repeat(line, 1500)), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "killed.npy")
	args := []string{"embed", "--engine", "null", "--max-batch-size", "4", "--checkpoint-interval", "0s", "--files-from", list, "-o"}
	c := vitrine(t, append(args, out)...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(readIfThere(out+".journal"), "\n{\"rows\":") {
		time.Sleep(time.Millisecond) // the journal is another process's
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Fatal("it was done before it was killed: give it more to do")
	}
	call(t, append(args, out)...).want(t, exitPartial, "going on at row ")
	whole := filepath.Join(dir, "whole.npy")
	call(t, append(args, whole)...).want(t, exitPartial, "1500 of 3000 images failed")
	for _, ending := range []string{"", ".index.jsonl"} {
		if readIfThere(out+ending) != readIfThere(whole+ending) || readIfThere(whole+ending) == "" {
			t.Errorf("%s differs from that of a run without interruption", out+ending)
		}
	}
}

func readIfThere(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

func TestReadAtMost(t *testing.T) {
	path := letters(t, "a")[0]
	if b, err := readAtMost(path, 1); err != nil || string(b) != "a" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := readAtMost(path, 0); err == nil {
		t.Error("a byte too many was read")
	}
	if _, err := readAtMost(filepath.Dir(path), 10); err == nil {
		t.Error("a folder was read")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := readAtMost(pipe, 10); err == nil {
		t.Error("a pipe was read")
	}
}

func TestInputsKeepTheirOrder(t *testing.T) {
	dir := badFolder(t)
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("z.jpg\r\n\na.jpg\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := listInputs([]string{"missing.bmp", filepath.Join(dir, "[ab]*.png"), filepath.Join(dir, "s*")}, list)
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range got {
		got[i] = strings.TrimPrefix(g, dir+string(filepath.Separator))
	}
	want := []string{"missing.bmp", "a.png", "b-truncated.png", filepath.Join("sub", "e.PNG"), "z.jpg", "a.jpg"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if digest([]string{"ab", "c"}) == digest([]string{"a", "bc"}) || digest([]string{"a", "b"}) == digest([]string{"b", "a"}) {
		t.Error("two lists have one digest")
	}
}
