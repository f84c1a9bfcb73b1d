package scenario

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// Field numbers of onnx.proto.
const (
	onnxGraph         = 7 // ModelProto.graph
	onnxOpset         = 8 // ModelProto.opset_import
	onnxGraphNode     = 1 // GraphProto.node
	onnxOpsetDomain   = 1 // OperatorSetIdProto.domain
	onnxOpsetVersion  = 2 // OperatorSetIdProto.version
	maxOnnx           = 2 << 30
	errOnnxText       = "not an ONNX model"
	onnxDefaultDomain = "ai.onnx"
)

// DescribeONNX reads an ONNX file's size, operator set and number of nodes.
func DescribeONNX(path string) (record.ModelFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return record.ModelFile{}, err
	}
	if info.Size() > maxOnnx {
		return record.ModelFile{}, fmt.Errorf("%s: %d bytes are more than a protobuf message can have", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return record.ModelFile{}, err
	}
	m := record.ModelFile{Name: filepath.Base(path), Bytes: info.Size()}
	if m.Opset, m.Nodes, err = onnxShape(text); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// onnxShape counts a model's nodes and finds its default domain's operator set.
func onnxShape(model []byte) (opset, nodes int, err error) {
	err = eachField(model, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case onnxGraph:
			return eachField(value, func(n protowire.Number, v []byte, _ uint64) error {
				if n == onnxGraphNode && v != nil {
					nodes++
				}
				return nil
			})
		case onnxOpset:
			return readOpset(value, &opset)
		}
		return nil
	})
	if err == nil && opset == 0 {
		err = errors.New(errOnnxText)
	}
	return opset, nodes, err
}

func readOpset(message []byte, opset *int) error {
	domain, version := "", uint64(0)
	err := eachField(message, func(n protowire.Number, v []byte, number uint64) error {
		switch n {
		case onnxOpsetDomain:
			domain = string(v)
		case onnxOpsetVersion:
			version = number
		}
		return nil
	})
	if domain == "" || domain == onnxDefaultDomain {
		*opset = int(version)
	}
	return err
}

// eachField calls f for each field of a message: value is a length-delimited one's, number a varint's.
func eachField(message []byte, f func(n protowire.Number, value []byte, number uint64) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errors.New(errOnnxText)
		}
		message = message[n:]
		var value []byte
		var varint uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return errors.New(errOnnxText)
		}
		message = message[n:]
		if err := f(number, value, varint); err != nil {
			return err
		}
	}
	return nil
}
