package wire

import (
	"errors"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// outputDraft is an output as far as it was read, in any order of members.
type outputDraft struct {
	Output
	region                                    Region
	hasName, hasParams, hasClasses, hasRegion bool
	nameErr, binaryErr, classErr, regionErr   error
}

// output reads one output; what is wrong with it is told after what is wrong with the inputs.
func (p *reader) output() error {
	if p.next() != '{' {
		p.outErr = unable("name", missing("name"))
		return p.skip()
	}
	var d outputDraft
	err := p.object(func(key []byte) error {
		switch {
		case string(key) == "name" && !d.hasName:
			d.hasName = true
			text, err := p.stringValue()
			d.Name = string(text)
			return p.soft(err, &d.nameErr, "name")
		case string(key) == "parameters" && !d.hasParams && p.next() == '{':
			d.hasParams = true
			return p.object(func(key []byte) error { return p.outputParameter(&d, string(key)) })
		}
		return p.skip()
	})
	if err != nil {
		return err
	}
	if d.hasRegion {
		d.Region = &d.region
	}
	p.outErr = d.check()
	p.r.Outputs = append(p.r.Outputs, d.Output)
	return nil
}

func (p *reader) outputParameter(d *outputDraft, name string) (err error) {
	switch name {
	case "binary_data":
		d.Binary, err = p.boolValue()
		return p.soft(err, &d.binaryErr, name)
	case "classification":
		d.hasClasses = true
		d.Classes, err = p.uintValue()
		if k := (kindError{}); errors.As(err, &k) {
			d.classErr = fault.New(fault.Mistaken, "Unable to set 'classification': %s", fault.Of(k.error).Msg)
			return nil
		}
		return err
	case "shared_memory_region":
		d.hasRegion = true
		text, err := p.stringValue()
		d.region.Name = string(text)
		return p.soft(err, &d.regionErr, name)
	case "shared_memory_offset":
		d.region.Offset, err = p.uintValue()
		return p.soft(err, &d.regionErr, name)
	case "shared_memory_byte_size":
		d.region.Size, err = p.uintValue()
		return p.soft(err, &d.regionErr, name)
	}
	if d.Params == nil {
		d.Params = map[string]any{}
	}
	d.Params[name], err = p.value()
	return err
}

// check finds what is wrong with an output, in the order in which Triton looks.
func (d *outputDraft) check() error {
	switch {
	case d.hasRegion && d.hasClasses:
		return invalid("Output can't set both 'shared_memory_region' and 'classification'")
	case d.hasRegion && d.binaryErr == nil && d.Binary:
		return invalid("Output can't set both 'shared_memory_region' and 'binary_data'")
	case !d.hasName:
		return unable("name", missing("name"))
	}
	return first(d.nameErr, d.classErr, d.regionErr, d.binaryErr)
}
