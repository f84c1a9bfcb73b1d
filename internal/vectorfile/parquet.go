package vectorfile

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"github.com/parquet-go/parquet-go"
)

// parquetRow is the file's schema. Vectors stay uncompressed: floats without pattern do not shrink.
type parquetRow struct {
	Path      string    `parquet:"path,zstd"`
	Embedding []float32 `parquet:"embedding,optional,list"`
	Error     *string   `parquet:"error,optional"`
}

// rowGroup is the number of rows that a reader or this writer has in memory at once.
const rowGroup = 16384

// publishParquet converts the rows, which npySink kept until now, and removes their partial files: a
// Parquet file without its footer is nothing, so an interrupted run could not have gone on with it.
// While this runs the rows take their space twice. Where one of those is gone, an
// earlier, interrupted completion has already published the file.
func publishParquet(o Options, rows int) error {
	vectors, index := o.Output+partial, o.Output+indexPartial
	if exists(vectors) && exists(index) {
		final := o.Output + ".partial.parquet"
		if err := convert(final, o, rows); err != nil {
			return err
		}
		if err := rename(final, o.Output); err != nil {
			return err
		}
	}
	return errors.Join(removeIfThere(index), removeIfThere(vectors))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// removeIfThere removes a file that may be gone already.
func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func convert(path string, o Options, rows int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := bufio.NewWriterSize(f, 1<<20)
	w := parquet.NewGenericWriter[parquetRow](b, parquetOptions(o.Info)...)
	if err := copyRows(w, o, rows); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

func parquetOptions(info Info) []parquet.WriterOption {
	options := []parquet.WriterOption{
		parquet.MaxRowsPerRowGroup(rowGroup),
		parquet.CreatedBy("vitrine", "1", ""),
	}
	for _, kv := range [][2]string{
		{"space", info.Space}, {"model", info.Model}, {"model_name", info.ModelName},
		{"pretrained", info.Pretrained}, {"synthetic", strconv.FormatBool(info.Synthetic)},
		{"precision", info.Precision}, {"plan", info.Plan}, {"dim", strconv.Itoa(info.Dim)},
		{"normalized", strconv.FormatBool(info.Normalized)},
	} {
		options = append(options, parquet.KeyValueMetadata("vitrine."+kv[0], kv[1]))
	}
	return options
}

// copyRows reads the rows back in blocks.
func copyRows(w *parquet.GenericWriter[parquetRow], o Options, rows int) error {
	vectors, err := os.Open(o.Output + partial)
	if err != nil {
		return err
	}
	defer vectors.Close()
	index, err := os.Open(o.Output + indexPartial)
	if err != nil {
		return err
	}
	defer index.Close()
	floats := bufio.NewReaderSize(vectors, 1<<20)
	if _, err := floats.Discard(npyHeaderSize); err != nil {
		return err
	}
	lines := json.NewDecoder(bufio.NewReaderSize(index, 1<<18))
	var header indexHeader
	if err := lines.Decode(&header); err != nil {
		return err
	}
	raw := make([]byte, 4*o.Info.Dim)
	block := make([]parquetRow, 0, 1024)
	for n := range rows {
		r, err := readRow(lines, floats, raw)
		if err != nil {
			return fmt.Errorf("row %d: %w", n, err)
		}
		block = append(block, r)
		if len(block) == cap(block) || n == rows-1 {
			if _, err := w.Write(block); err != nil {
				return err
			}
			block = block[:0]
		}
	}
	return nil
}

func readRow(lines *json.Decoder, floats io.Reader, raw []byte) (parquetRow, error) {
	var line indexLine
	if err := lines.Decode(&line); err != nil {
		return parquetRow{}, err
	}
	if _, err := io.ReadFull(floats, raw); err != nil {
		return parquetRow{}, err
	}
	r := parquetRow{Path: line.Path}
	if line.Error != "" {
		r.Error = &line.Error
		return r, nil
	}
	r.Embedding = make([]float32, len(raw)/4)
	for i := range r.Embedding {
		r.Embedding[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return r, nil
}
