package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// MaxConfigBytes bounds a configuration; Triton's largest examples hold a hundredth of it.
const MaxConfigBytes = 1 << 20

// Parse reads a config.pbtxt. Its errors name line and column.
func Parse(text []byte) (*Config, error) {
	if len(text) > MaxConfigBytes {
		return nil, fmt.Errorf("a configuration of %d bytes is over the limit of %d", len(text), MaxConfigBytes)
	}
	fields, err := parseText(string(text))
	if err != nil {
		return nil, err
	}
	c := &Config{}
	if err := decode(fields, reflect.ValueOf(c).Elem()); err != nil {
		return nil, err
	}
	fill(reflect.ValueOf(c))
	return c, nil
}

// ParseJSON reads a configuration as a load request brings it.
func ParseJSON(text []byte) (*Config, error) {
	if len(text) > MaxConfigBytes {
		return nil, fmt.Errorf("a configuration of %d bytes is over the limit of %d", len(text), MaxConfigBytes)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	c := &Config{}
	if err := d.Decode(c); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows the configuration")
	}
	fill(reflect.ValueOf(c))
	return c, nil
}
