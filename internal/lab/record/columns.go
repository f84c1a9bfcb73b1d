package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// A block of requests is one line whose keys are columns:
//
//	{"kind":"requests","cell":3,"n":4,"due":[1000,250,250,250],"done":[913,870,902,899],"status":200}
//
// due is the difference to the request before it (the first: to Manifest.Started); sent is counted from
// due; wrote, first_byte and done from sent; all in nanoseconds. In wrote and first_byte -1 is unknown.
// A column whose values are all equal is that one number, and is left out where it is the column's
// default (0, or -1 for wrote and first_byte). error is an index into errors, counted from 1; 0 is none.
// due is always a list: the size of a block cannot exceed that of its line.

// maxBlock is the most requests that one line holds.
const maxBlock = 1 << 16

// column is one quantity of a request in its relative form.
type column struct {
	name   string
	absent int64
	get    func(*Request) int64
	set    func(*Request, int64)
}

// columns in the order in which they must be set: later ones are relative to earlier ones. due is
// apart, being relative to another request, and so is error.
var columns = []column{
	{"sent", 0, func(r *Request) int64 { return r.Sent - r.Due }, func(r *Request, v int64) { r.Sent = r.Due + v }},
	{"wrote", -1, func(r *Request) int64 { return sinceSent(r, r.Wrote) }, func(r *Request, v int64) { r.Wrote = atSent(r, v) }},
	{"first_byte", -1, func(r *Request) int64 { return sinceSent(r, r.FirstByte) }, func(r *Request, v int64) { r.FirstByte = atSent(r, v) }},
	{"done", 0, func(r *Request) int64 { return r.Done - r.Sent }, func(r *Request, v int64) { r.Done = r.Sent + v }},
	{"worker", 0, func(r *Request) int64 { return int64(r.Worker) }, func(r *Request, v int64) { r.Worker = int32(v) }},
	{"status", 0, func(r *Request) int64 { return int64(r.Status) }, func(r *Request, v int64) { r.Status = int32(v) }},
	{"bytes_out", 0, func(r *Request) int64 { return int64(r.BytesOut) }, func(r *Request, v int64) { r.BytesOut = int32(v) }},
	{"bytes_in", 0, func(r *Request) int64 { return int64(r.BytesIn) }, func(r *Request, v int64) { r.BytesIn = int32(v) }},
	{"warmup", 0, func(r *Request) int64 { return bit(r.Warmup) }, func(r *Request, v int64) { r.Warmup = v != 0 }},
	{"server_total", 0, func(r *Request) int64 { return int64(r.Server.Total) }, func(r *Request, v int64) { r.Server.Total = time.Duration(v) }},
	{"server_decode", 0, func(r *Request) int64 { return int64(r.Server.Decode) }, func(r *Request, v int64) { r.Server.Decode = time.Duration(v) }},
	{"server_queue", 0, func(r *Request) int64 { return int64(r.Server.Queue) }, func(r *Request, v int64) { r.Server.Queue = time.Duration(v) }},
	{"server_input", 0, func(r *Request) int64 { return int64(r.Server.Input) }, func(r *Request, v int64) { r.Server.Input = time.Duration(v) }},
	{"server_compute", 0, func(r *Request) int64 { return int64(r.Server.Compute) }, func(r *Request, v int64) { r.Server.Compute = time.Duration(v) }},
	{"server_output", 0, func(r *Request) int64 { return int64(r.Server.Output) }, func(r *Request, v int64) { r.Server.Output = time.Duration(v) }},
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// sinceSent is t counted from r.Sent, -1 if t is 0 (unknown), and one lower below zero, so that nothing
// is lost.
func sinceSent(r *Request, t int64) int64 {
	switch d := t - r.Sent; {
	case t == 0:
		return -1
	case d < 0:
		return d - 1
	default:
		return d
	}
}

func atSent(r *Request, v int64) int64 {
	switch {
	case v == -1:
		return 0
	case v < 0:
		return r.Sent + v + 1
	default:
		return r.Sent + v
	}
}

// columnEncoder writes blocks; it keeps its memory between them.
type columnEncoder struct {
	values []int64
	texts  []string
	index  map[string]int64
}

func newColumnEncoder() *columnEncoder { return &columnEncoder{index: map[string]int64{}} }

// append adds list as one line; it holds maxBlock requests at most.
func (e *columnEncoder) append(dst []byte, cell int, list []Request) []byte {
	dst = append(dst, `{"kind":"requests","cell":`...)
	dst = strconv.AppendInt(dst, int64(cell), 10)
	dst = append(dst, `,"n":`...)
	dst = strconv.AppendInt(dst, int64(len(list)), 10)
	dst = append(dst, `,"due":`...)
	dst = appendInts(dst, e.dues(list))
	for i := range columns {
		dst = e.appendColumn(dst, &columns[i], list)
	}
	dst = e.appendErrors(dst, list)
	return append(dst, "}\n"...)
}

func (e *columnEncoder) dues(list []Request) []int64 {
	e.values = e.values[:0]
	last := int64(0)
	for i := range list {
		e.values = append(e.values, list[i].Due-last)
		last = list[i].Due
	}
	return e.values
}

func (e *columnEncoder) appendColumn(dst []byte, c *column, list []Request) []byte {
	e.values = e.values[:0]
	for i := range list {
		e.values = append(e.values, c.get(&list[i]))
	}
	return appendValues(dst, c.name, c.absent, e.values)
}

func (e *columnEncoder) appendErrors(dst []byte, list []Request) []byte {
	e.values, e.texts = e.values[:0], e.texts[:0]
	clear(e.index)
	for i := range list {
		e.values = append(e.values, e.number(list[i].Error))
	}
	if len(e.texts) == 0 {
		return dst
	}
	texts, err := json.Marshal(e.texts)
	if err != nil { // strings always can be
		panic(err)
	}
	dst = append(dst, `,"errors":`...)
	dst = append(dst, texts...)
	return appendValues(dst, "error", 0, e.values)
}

func (e *columnEncoder) number(text string) int64 {
	if text == "" {
		return 0
	}
	n, ok := e.index[text]
	if !ok {
		e.texts = append(e.texts, text)
		n = int64(len(e.texts))
		e.index[text] = n
	}
	return n
}

func appendValues(dst []byte, name string, absent int64, values []int64) []byte {
	same := constant(values)
	if len(values) == 0 || same && values[0] == absent {
		return dst
	}
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	if same {
		return strconv.AppendInt(dst, values[0], 10)
	}
	return appendInts(dst, values)
}

func constant(values []int64) bool {
	for _, v := range values {
		if v != values[0] {
			return false
		}
	}
	return true
}

func appendInts(dst []byte, values []int64) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, v, 10)
	}
	return append(dst, ']')
}

// series is a column as it is read: a list, or one number for all.
type series struct {
	list []int64
	all  int64
	one  bool
}

// parse reads one integer, or a list of integers.
func (s *series) parse(text []byte) error {
	if len(text) == 0 || text[0] != '[' {
		v, end := parseInt(text, 0)
		s.all, s.one = v, true
		return complete(text, end)
	}
	s.list = make([]int64, 0, bytes.Count(text, []byte{','})+1)
	i := blanks(text, 1)
	if i < len(text) && text[i] == ']' {
		return complete(text, i+1)
	}
	for {
		v, end := parseInt(text, i)
		if end < 0 {
			return complete(text, end)
		}
		s.list = append(s.list, v)
		i = blanks(text, end)
		if i >= len(text) || text[i] != ',' {
			break
		}
		i = blanks(text, i+1)
	}
	if i >= len(text) || text[i] != ']' {
		return complete(text, -1)
	}
	return complete(text, i+1)
}

// complete is an error unless text was read to its end.
func complete(text []byte, end int) error {
	if end != len(text) {
		return fmt.Errorf("want an integer or a list of integers, not %.40q", text)
	}
	return nil
}

func blanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	return i
}

// parseInt reads the integer at i. end is -1 if there is none or it does not fit.
func parseInt(text []byte, i int) (v int64, end int) {
	negative := i < len(text) && text[i] == '-'
	if negative {
		i++
	}
	start, size := i, uint64(0)
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		if size > math.MaxInt64/10 {
			return 0, -1
		}
		size = size*10 + uint64(text[i]-'0')
	}
	most := uint64(math.MaxInt64)
	if negative {
		most++
	}
	if i == start || text[start] == '0' && i > start+1 || size > most {
		return 0, -1
	}
	if negative {
		return -int64(size), i
	}
	return int64(size), i
}

// at is the i-th value.
func (s *series) at(i int) int64 {
	if s.one {
		return s.all
	}
	return s.list[i]
}

// parseRequests reads a block.
func parseRequests(line []byte) (Event, error) {
	raw := splitColumns(line)
	if raw == nil {
		if err := json.Unmarshal(line, &raw); err != nil {
			return nil, err
		}
	}
	b := blockReader{raw: raw}
	out := b.read()
	if b.err != nil {
		return nil, b.err
	}
	return out, nil
}

// requestsHead begins the lines that the writer makes.
var requestsHead = []byte(`{"kind":"requests",`)

// splitColumns takes a line as the writer makes it apart, several times as fast as encoding/json would; nil
// leaves it to that. What values are is not looked at: whoever reads them does.
func splitColumns(line []byte) map[string]json.RawMessage {
	if !bytes.HasPrefix(line, requestsHead) || line[len(line)-1] != '}' {
		return nil
	}
	raw := make(map[string]json.RawMessage, len(columns)+3)
	for rest := line[len(requestsHead):]; ; {
		name, after, ok := cutName(rest)
		if !ok || name == "errors" || raw[name] != nil {
			return nil
		}
		end := bytes.IndexAny(after, ",}")
		if after[0] == '[' {
			if end = bytes.IndexByte(after, ']') + 1; end == 0 {
				return nil
			}
		}
		raw[name] = after[:end]
		if end == len(after)-1 {
			return raw
		}
		if after[end] != ',' {
			return nil
		}
		rest = after[end+1:]
	}
}

// cutName cuts `"name":` off; the name is made of small letters and underscores.
func cutName(text []byte) (name string, after []byte, ok bool) {
	i := 1
	for i < len(text) && (text[i] >= 'a' && text[i] <= 'z' || text[i] == '_') {
		i++
	}
	if i+2 >= len(text) || text[0] != '"' || text[i] != '"' || text[i+1] != ':' {
		return "", nil, false
	}
	return string(text[1:i]), text[i+2:], true
}

// blockReader fills requests column by column; the first error stays.
type blockReader struct {
	raw map[string]json.RawMessage
	err error
}

func (b *blockReader) read() Requests {
	var out Requests
	var n int
	b.into("cell", &out.Cell)
	b.into("n", &n)
	due := b.series("due", n, 0)
	if b.err == nil && (n < 0 || n > maxBlock || len(due.list) != n) {
		b.err = fmt.Errorf("a block of %d requests has a due column of %d", n, len(due.list))
	}
	if b.err != nil {
		return out
	}
	out.List = make([]Request, n)
	at := int64(0)
	for i := range out.List {
		at += due.list[i]
		out.List[i].Due = at
	}
	for i := range columns {
		b.fill(&columns[i], out.List)
	}
	b.fillErrors(out.List)
	return out
}

func (b *blockReader) into(name string, v any) {
	text, ok := b.raw[name]
	if !ok || b.err != nil {
		return
	}
	if err := json.Unmarshal(text, v); err != nil {
		b.err = fmt.Errorf("column %s: %w", name, err)
	}
}

// series reads a column; a list must hold n values.
func (b *blockReader) series(name string, n int, absent int64) series {
	s := series{all: absent, one: true}
	if text, ok := b.raw[name]; ok {
		s = series{}
		if err := s.parse(text); err != nil && b.err == nil {
			b.err = fmt.Errorf("column %s: %w", name, err)
		}
	}
	if b.err == nil && !s.one && len(s.list) != n {
		b.err = fmt.Errorf("column %s has %d values, the block %d requests", name, len(s.list), n)
	}
	return s
}

func (b *blockReader) fill(c *column, list []Request) {
	s := b.series(c.name, len(list), c.absent)
	if b.err != nil {
		return
	}
	for i := range list {
		c.set(&list[i], s.at(i))
	}
}

func (b *blockReader) fillErrors(list []Request) {
	var texts []string
	b.into("errors", &texts)
	s := b.series("error", len(list), 0)
	if b.err != nil {
		return
	}
	for i := range list {
		k := s.at(i)
		if k < 0 || k > int64(len(texts)) {
			b.err = errors.New("column error points outside errors")
			return
		}
		if k > 0 {
			list[i].Error = texts[k-1]
		}
	}
}
