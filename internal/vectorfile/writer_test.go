package vectorfile

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

var python = flag.String("python", "", "a Python with numpy and pyarrow, to read the files back with them")

var formats = []Format{NPY, JSONL, Parquet}

var testInfo = Info{Space: "sha256:abc", Model: "synthetic", ModelName: "ViT-B-32", Precision: "fp32",
	Plan: "shortest bicubic 224", Dim: 3, Normalized: true}

func testOptions(dir string, f Format) Options {
	return Options{Output: filepath.Join(dir, "out."+string(f)), Info: testInfo, Inputs: "digest"}
}

// testRow is row n; every fourth one failed.
func testRow(n int) Row {
	r := Row{Path: fmt.Sprintf("photos/%d \"é\".jpg", n)}
	if n%4 == 3 {
		r.Err = "truncated <image>"
		return r
	}
	x := float32(n)
	r.Vector = []float32{x, -x / 3, 1e-8 * x}
	return r
}

func write(t *testing.T, w *Writer, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := w.Append(testRow(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, o Options) *Writer {
	t.Helper()
	w, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// contents reads every file of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

// whole writes rows rows without interruption and returns the folder's files.
func whole(t *testing.T, f Format, rows int) map[string]string {
	t.Helper()
	dir := t.TempDir()
	w := open(t, testOptions(dir, f))
	write(t, w, 0, rows)
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return contents(t, dir)
}

func TestAnInterruptedRunEndsInTheSameBytes(t *testing.T) {
	const rows = 50
	for _, f := range formats {
		want := whole(t, f, rows)
		t.Run(string(f), func(t *testing.T) {
			dir := t.TempDir()
			// Closed in order after 10 rows, as on Ctrl-C.
			w := open(t, testOptions(dir, f))
			write(t, w, 0, 10)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			// Killed after 30 rows, with a checkpoint at 20: what follows it is on disk in part.
			w = open(t, testOptions(dir, f))
			if w.Rows() != 10 || w.Failed() != 2 {
				t.Fatalf("continues at row %d with %d failures, want 10 with 2", w.Rows(), w.Failed())
			}
			write(t, w, 10, 20)
			if err := w.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			write(t, w, 20, 30)
			kill(t, w)
			w = open(t, testOptions(dir, f))
			if w.Rows() != 20 || w.Failed() != 5 || len(w.Failures()) != 5 || w.Failures()[4].Row != 19 {
				t.Fatalf("continues at row %d, failures %v", w.Rows(), w.Failures())
			}
			write(t, w, 20, rows)
			if err := w.Finish(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// kill leaves a writer as a killed process would: buffers half written, a torn line in the journal.
func kill(t *testing.T, w *Writer) {
	t.Helper()
	for _, s := range w.sink.files() {
		s.w.Flush()
		s.f.Close()
	}
	if _, err := w.journal.f.WriteString(`{"rows":30,"si`); err != nil {
		t.Fatal(err)
	}
	w.journal.f.Close()
}

func TestACrashWhileCompletingIsRepaired(t *testing.T) {
	for _, f := range formats {
		want := whole(t, f, 9)
		for done := range 4 { // how many steps of publish had happened
			t.Run(fmt.Sprint(f, done), func(t *testing.T) {
				dir := t.TempDir()
				o := testOptions(dir, f)
				w := open(t, o)
				write(t, w, 0, 9)
				if err := errors.Join(w.sink.seal(9), w.checkpoint(true), w.closeFiles()); err != nil {
					t.Fatal(err)
				}
				publishPart(t, w, done)
				w.journal.f.Close()
				w = open(t, o)
				if w.Rows() != 9 || w.Append(testRow(9)) == nil {
					t.Fatalf("a complete output takes row %d", w.Rows())
				}
				if err := w.Finish(); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// publishPart does the first steps of publish.
func publishPart(t *testing.T, w *Writer, steps int) {
	t.Helper()
	o := w.options.Output
	todo := map[Format][]func() error{
		NPY:   {func() error { return rename(o+indexPartial, o+".index.jsonl") }, func() error { return rename(o+partial, o) }},
		JSONL: {func() error { return rename(o+partial, o) }},
		Parquet: {func() error { return convert(o+".partial.parquet", w.options, w.rows) },
			func() error { return rename(o+".partial.parquet", o) }, func() error { return os.Remove(o + indexPartial) }},
	}[w.format]
	for _, step := range todo[:min(steps, len(todo))] {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsNotContinued(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"other space", func(o *Options) { o.Info.Space = "sha256:def" }, "space sha256:abc, this one makes sha256:def"},
		{"other inputs", func(o *Options) { o.Inputs = "other" }, "the list of files or an option"},
		{"not normalised", func(o *Options) { o.Info.Normalized = false }, "described differently"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			w := open(t, testOptions(dir, NPY))
			write(t, w, 0, 2)
			w.Close()
			o := testOptions(dir, NPY)
			c.change(&o)
			_, err := Open(o)
			if !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			o.Overwrite = true
			if w := open(t, o); w.Rows() != 0 {
				t.Errorf("overwrite continues at row %d", w.Rows())
			}
		})
	}
}

func TestAFinishedOutputIsNotReplacedWithoutLeave(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, JSONL)
	w := open(t, o)
	write(t, w, 0, 2)
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v", err)
	}
	o.Overwrite = true
	w = open(t, o)
	write(t, w, 0, 1)
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(contents(t, dir)["out.jsonl"], "\n"); got != 1 {
		t.Errorf("%d lines", got)
	}
}

func TestTwoRunsOnOneOutput(t *testing.T) {
	o := testOptions(t.TempDir(), NPY)
	open(t, o)
	if _, err := Open(o); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestPartialFilesShorterThanTheJournalAreRefused(t *testing.T) {
	o := testOptions(t.TempDir(), NPY)
	w := open(t, o)
	write(t, w, 0, 5)
	w.Close()
	if err := os.Truncate(o.Output+partial, 130); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "it was changed") {
		t.Errorf("got %v", err)
	}
}

func TestAForeignFileIsNoJournal(t *testing.T) {
	o := testOptions(t.TempDir(), NPY)
	if err := os.WriteFile(o.Output+".journal", []byte("my diary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "not a journal") {
		t.Errorf("got %v", err)
	}
}

func TestAVectorOfTheWrongLengthIsRefused(t *testing.T) {
	w := open(t, testOptions(t.TempDir(), NPY))
	if err := w.Append(Row{Path: "a", Vector: []float32{1}}); err == nil {
		t.Error("accepted")
	}
}

func TestNPYHeader(t *testing.T) {
	for _, rows := range []int{0, 1, math.MaxInt} {
		h := npyHeader(rows, math.MaxInt32)
		if len(h) != npyHeaderSize || h[npyHeaderSize-1] != '\n' {
			t.Errorf("%d rows: %q", rows, h)
		}
	}
}

func TestJSONLinesReadBack(t *testing.T) {
	text := whole(t, JSONL, 8)["out.jsonl"]
	lines := bufio.NewScanner(strings.NewReader(text))
	n := 0
	for ; lines.Scan(); n++ {
		var got struct {
			Row       int
			Path      string
			Space     string
			Embedding []float32
			Error     *string
		}
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		want := testRow(n)
		if got.Row != n || got.Path != want.Path || got.Space != testInfo.Space || !cmp.Equal(got.Embedding, want.Vector) {
			t.Errorf("line %d: %s", n, lines.Text())
		}
		if (got.Error != nil) != (want.Err != "") || got.Error != nil && *got.Error != want.Err {
			t.Errorf("line %d: error %v", n, got.Error)
		}
	}
	if n != 8 {
		t.Errorf("%d lines", n)
	}
}

func TestParquetReadsBack(t *testing.T) {
	text := whole(t, Parquet, rowGroup+9)["out.parquet"]
	f, err := parquet.OpenFile(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	if space, _ := f.Lookup("vitrine.space"); space != testInfo.Space {
		t.Errorf("space %q", space)
	}
	if len(f.RowGroups()) != 2 {
		t.Errorf("%d row groups", len(f.RowGroups()))
	}
	rows, err := parquet.Read[parquetRow](strings.NewReader(text), int64(len(text)))
	if err != nil || len(rows) != rowGroup+9 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for n, got := range rows {
		want := testRow(n)
		if got.Path != want.Path || (got.Error == nil) != (want.Err == "") || len(got.Embedding) != len(want.Vector) {
			t.Fatalf("row %d: %+v, want %+v", n, got, want)
		}
		for i, v := range want.Vector {
			if got.Embedding[i] != v {
				t.Fatalf("row %d: %v, want %v", n, got.Embedding, want.Vector)
			}
		}
	}
}

// TestNumPyAndArrowReadTheSame runs testdata/read.py: independent readers of all three formats.
func TestNumPyAndArrowReadTheSame(t *testing.T) {
	if *python == "" {
		t.Skip("no -python: pass one that has numpy and pyarrow")
	}
	dir := t.TempDir()
	for _, f := range formats {
		w := open(t, testOptions(dir, f))
		write(t, w, 0, 11)
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(*python, "testdata/read.py", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"journal":"vitrine-embed-journal","version":1,"format":"npy","info":{"space":"sha256:abc","dim":3,"normalized":true},"inputs":"d"}` + "\n" + `{"rows":1,"sizes":[140,80],"failed":0}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o := Options{Output: filepath.Join(t.TempDir(), "o.npy"), Info: Info{Space: "sha256:abc", Dim: 3, Normalized: true}, Inputs: "d"}
		if err := os.WriteFile(o.Output+".journal", text, 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := Open(o)
		if err != nil {
			return
		}
		w.Close()
	})
}
