package repository

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// enum is a type of named values, the first of which is the default.
type enum interface{ names() []string }

var enumType = reflect.TypeFor[enum]()

// message describes a struct as protobuf would its message.
type message struct {
	name   string         // full, from the tag of the blank field
	fields map[string]int // by name: index of the struct field
}

// describe reads a struct's tags; `json` holds a field's name, `oneof` the group it excludes others in.
func describe(t reflect.Type) message {
	m := message{fields: map[string]int{}}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			m.name = f.Tag.Get("proto")
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		m.fields[name] = i
	}
	return m
}

// decode fills the struct with the fields of a message.
func decode(fields []field, into reflect.Value) error {
	m := describe(into.Type())
	chosen := map[string]string{} // the field that holds each oneof
	seen := map[string]bool{}
	for _, f := range fields {
		i, known := m.fields[f.name]
		if !known {
			return f.after.errorf("Message type %q has no field named %q.", m.name, f.name)
		}
		v, group := into.Field(i), into.Type().Field(i).Tag.Get("oneof")
		many := v.Kind() == reflect.Slice || v.Kind() == reflect.Map
		switch {
		case !many && f.list:
			return f.after.errorf("Expected a single value for field %q.", f.name)
		case !many && seen[f.name]:
			return f.after.errorf("Non-repeated field %q is specified multiple times.", f.name)
		case group != "" && chosen[group] != "":
			return f.after.errorf("Field %q is specified along with field %q, another member of oneof %q.", f.name, chosen[group], group)
		}
		seen[f.name] = true
		if group != "" {
			chosen[group] = f.name
		}
		for _, value := range f.values {
			if err := add(v, &value); err != nil {
				return err
			}
		}
	}
	return nil
}

// add sets a field to the value or, where it may have several, appends it.
func add(v reflect.Value, x *value) error {
	switch v.Kind() {
	case reflect.Slice:
		item := reflect.New(v.Type().Elem()).Elem()
		if err := set(item, x); err != nil {
			return err
		}
		v.Set(reflect.Append(v, item))
		return nil
	case reflect.Map:
		return addEntry(v, x)
	}
	return set(v, x)
}

// addEntry puts a message of key and value into the map; a later key takes an earlier one's place.
func addEntry(v reflect.Value, x *value) error {
	if !x.isMsg {
		return x.at.errorf("Expected \"{\", found %q.", x.text)
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	key, item := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
	for _, f := range x.message {
		at := map[string]reflect.Value{"key": key, "value": item}[f.name]
		if !at.IsValid() {
			return f.after.errorf("Map entry has no field named %q.", f.name)
		}
		if len(f.values) != 1 {
			return f.after.errorf("Expected a single value for field %q.", f.name)
		}
		if err := set(at, &f.values[0]); err != nil {
			return err
		}
	}
	v.SetMapIndex(key, item)
	return nil
}

// set converts one value to the type of v.
func set(v reflect.Value, x *value) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return set(v.Elem(), x)
	}
	if v.Kind() == reflect.Struct {
		if !x.isMsg {
			return x.at.errorf("Expected \"{\", found %q.", x.text)
		}
		return decode(x.message, v)
	}
	if x.isMsg {
		return x.at.errorf("Expected a value, found \"{\".")
	}
	if v.Type().Implements(enumType) {
		return setEnum(v, x)
	}
	return setScalar(v, x)
}

func setEnum(v reflect.Value, x *value) error {
	names := v.Interface().(enum).names()
	if x.quoted {
		return x.at.errorf("Expected integer or identifier, got: %q", x.text)
	}
	if n, err := strconv.Atoi(x.text); err == nil && n >= 0 && n < len(names) {
		v.SetString(names[n])
		return nil
	}
	if !slices.Contains(names, x.text) {
		return x.at.errorf("Unknown enumeration value of %q for an enumeration of %s.", x.text, strings.Join(names, ", "))
	}
	v.SetString(x.text)
	return nil
}

func setScalar(v reflect.Value, x *value) error {
	switch v.Kind() {
	case reflect.String:
		if !x.quoted {
			return x.at.errorf("Expected string, got: %s", x.text)
		}
		v.SetString(x.text)
		return nil
	case reflect.Bool:
		return setBool(v, x)
	case reflect.Float32, reflect.Float64:
		return setFloat(v, x)
	}
	return setInteger(v, x)
}

func setBool(v reflect.Value, x *value) error {
	switch {
	case x.quoted:
	case slices.Contains([]string{"true", "True", "t", "1"}, x.text):
		v.SetBool(true)
		return nil
	case slices.Contains([]string{"false", "False", "f", "0"}, x.text):
		v.SetBool(false)
		return nil
	}
	return x.at.errorf("Invalid value for boolean field. Value: %q.", x.text)
}

// setFloat reads finite numbers: no setting means anything infinite, and JSON could not say it.
func setFloat(v reflect.Value, x *value) error {
	text := strings.ToLower(x.text)
	f, err := strconv.ParseFloat(strings.TrimSuffix(text, "f"), v.Type().Bits())
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || x.quoted || strings.ContainsAny(text, "xp_") {
		return x.at.errorf("Expected double, got: %s", x.text)
	}
	v.SetFloat(f)
	return nil
}

// setInteger reads decimal, octal (0...) and hexadecimal (0x...) numbers.
func setInteger(v reflect.Value, x *value) error {
	if x.quoted || strings.ContainsAny(x.text, "_oObB") && !strings.ContainsAny(x.text, "xX") {
		return x.at.errorf("Expected integer, got: %q", x.text)
	}
	bits := v.Type().Bits()
	if v.CanInt() {
		n, err := strconv.ParseInt(x.text, 0, bits)
		if err != nil {
			return integerError(x, err)
		}
		v.SetInt(n)
		return nil
	}
	n, err := strconv.ParseUint(x.text, 0, bits)
	if err != nil {
		return integerError(x, err)
	}
	v.SetUint(n)
	return nil
}

func integerError(x *value, err error) error {
	if strings.Contains(err.Error(), "range") {
		return x.at.errorf("Integer out of range (%s)", x.text)
	}
	return x.at.errorf("Expected integer, got: %s", x.text)
}

// fill gives every empty list and map under v a value of its own and every enum its default, so that
// JSON has [] and {} and names where protobuf's has them.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		fillMap(v)
	case reflect.String:
		if e, ok := v.Interface().(enum); ok && v.Len() == 0 {
			v.SetString(e.names()[0])
		}
	}
}

func fillMap(v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, key := range v.MapKeys() {
		item := reflect.New(v.Type().Elem()).Elem()
		item.Set(v.MapIndex(key))
		fill(item)
		v.SetMapIndex(key, item)
	}
}
