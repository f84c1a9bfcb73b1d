// Command engineworker runs Vitrine's CPU engine behind the line protocol of engine_worker.py, so that
// compare_engines.py can time it in turn with the engines of other projects.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func main() {
	export := flag.String("export", "", "write synthetic ViT-B-32 weights to this folder and exit")
	folder := flag.String("model", "", "folder with open_clip_config.json and weights")
	precision := flag.String("precision", "fp32", "fp32 or bf16")
	threads := flag.Int("threads", 0, "worker threads, 0 for all cores")
	flag.Parse()
	if err := run(*export, *folder, *precision, *threads); err != nil {
		fmt.Fprintln(os.Stderr, "engineworker:", err)
		os.Exit(1)
	}
}

func run(export, folder, precision string, threads int) error {
	ctx := context.Background()
	if export != "" {
		m, err := model.Open(ctx, "synthetic", model.OpenOptions{})
		if err != nil {
			return err
		}
		return model.Export(m, export)
	}
	m, err := model.Open(ctx, folder, model.OpenOptions{})
	if err != nil {
		return err
	}
	e, err := cpu.New(m, cpu.Options{Precision: engine.Precision(precision), Threads: threads, Instances: 1, MaxBatch: 64})
	if err != nil {
		return err
	}
	defer e.Close()
	return serve(ctx, e)
}

func serve(ctx context.Context, e engine.Engine) error {
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n, file := 0, ""
		if _, err := fmt.Sscanf(strings.TrimPrefix(in.Text(), "embed "), "%d %s", &n, &file); n == 0 {
			return fmt.Errorf("line %q: %w", in.Text(), err)
		}
		rows, out, err := inputs(e, n)
		if err != nil {
			return err
		}
		start := time.Now()
		if _, err := e.Run(ctx, rows, out); err != nil {
			return err
		}
		elapsed := time.Since(start)
		if file != "" {
			if err := writeNPY(file, out); err != nil {
				return err
			}
		}
		fmt.Printf("%.4f\n", elapsed.Seconds()*1e3)
		for _, r := range rows {
			r.Release()
		}
	}
	return nil
}

// inputs are n uint8 images whose bytes are the top byte of splitmix64 of their index, as pixels() in
// engine_worker.py has them.
func inputs(e engine.Engine, n int) (rows []tensor.Row, out [][]float32, err error) {
	counter := uint64(0)
	for range n {
		row, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			return nil, nil, err
		}
		for i := range row.Bytes() {
			counter++
			row.Bytes()[i] = byte(mix(counter) >> 56)
		}
		rows, out = append(rows, row), append(out, make([]float32, e.Spec().Dim()))
	}
	return rows, out, nil
}

func mix(counter uint64) uint64 {
	z := counter * 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

func writeNPY(path string, rows [][]float32) error {
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", len(rows), len(rows[0]))
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	data := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	data = append(data, header...)
	for _, r := range rows {
		data = append(data, tensor.BytesOf(r)...)
	}
	return os.WriteFile(path, data, 0o644)
}
