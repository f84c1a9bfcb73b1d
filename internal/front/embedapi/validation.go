package embedapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/jsonscan"
)

// problem is one entry of FastAPI's 422 answer, in pydantic's types and words.
type problem struct {
	Type  string          `json:"type"`
	Loc   []any           `json:"loc"` // "body", field, index
	Msg   string          `json:"msg"`
	Input json.RawMessage `json:"input,omitempty"` // what was sent, if it is short
	Ctx   map[string]any  `json:"ctx,omitempty"`
}

// invalid is a request that breaks the schema.
type invalid struct{ problems []problem }

// maxProblems bounds an answer to a request whose every item is wrong.
const maxProblems = 100

func (e *invalid) add(p problem) {
	if len(e.problems) < maxProblems {
		e.problems = append(e.problems, p)
	}
}

// Error is the first problem: `images[2]: Input should be a valid string`.
func (e *invalid) Error() string {
	p := e.problems[0]
	s := place(p.Loc) + ": " + p.Msg
	if n := len(e.problems) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// Unwrap makes it a fault to metrics and log.
func (e *invalid) Unwrap() error { return fault.New(fault.Invalid, "%s", e.Error()) }

func place(loc []any) string {
	var b strings.Builder
	for i, part := range loc {
		switch v := part.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", v)
		case string:
			if i == 0 && len(loc) > 1 {
				continue
			}
			b.WriteString(v)
		}
	}
	return b.String()
}

// shown is a value as an answer repeats it: nothing if it is long.
func shown(raw []byte) json.RawMessage {
	if len(raw) > 256 || !json.Valid(raw) {
		return nil
	}
	return append(json.RawMessage(nil), raw...)
}

// Fail answers in FastAPI's shapes: 422 with a list where the field or item is known, else
// {"detail": "..."} with the fault's status.
func Fail(x *front.Exchange, err error) {
	var schema *invalid
	var syntax *jsonscan.Error
	switch {
	case errors.Is(err, front.ErrMethod):
		x.JSON(http.StatusMethodNotAllowed, detail{front.ErrMethod.Msg})
	case errors.As(err, &schema):
		x.JSON(http.StatusUnprocessableEntity, detail{schema.problems})
	case errors.As(err, &syntax) && !syntax.TooDeep:
		x.JSON(http.StatusUnprocessableEntity, detail{[]problem{{
			Type: "json_invalid", Loc: []any{"body", syntax.Pos}, Msg: "JSON decode error",
			Input: json.RawMessage("{}"), Ctx: map[string]any{"error": syntax.Msg},
		}}})
	default:
		failFault(x, err)
	}
}

type detail struct {
	Detail any `json:"detail"`
}

func failFault(x *front.Exchange, err error) {
	f := fault.Of(err)
	if f.Kind != fault.Invalid || f.Field == "" {
		x.JSON(front.Status(err), detail{front.Message(err)})
		return
	}
	loc := []any{"body"}
	if f.Field != "body" {
		loc = append(loc, f.Field)
		if f.Item >= 0 {
			loc = append(loc, f.Item)
		}
	}
	x.JSON(http.StatusUnprocessableEntity, detail{[]problem{{Type: "value_error", Loc: loc, Msg: itemMessage(f)}}})
}

// itemMessage is the fault's message without its place, which stands beside it.
func itemMessage(f *fault.Error) string {
	g := *f
	g.Field, g.Item = "", -1
	return front.Message(&g)
}

// syntaxFault makes a scanner's error a fault: JSON that cannot be read, or nests too deep.
func syntaxFault(err error) error {
	var syntax *jsonscan.Error
	if errors.As(err, &syntax) {
		return fault.Wrap(fault.Invalid, err, "the body is not JSON that this server reads")
	}
	return err
}

// boolean reads a flag as pydantic does in its lax mode: true, 1, 1.0, "yes", "on", "t", ...
func boolean(raw []byte) (value bool, typ string) {
	text := string(raw)
	switch {
	case text == "true" || text == "false":
		return text == "true", ""
	case len(raw) > 0 && raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return false, "bool_parsing"
		}
		return booleanWord(s)
	case len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'):
		if f, err := strconv.ParseFloat(text, 64); err == nil && (f == 0 || f == 1) {
			return f == 1, ""
		}
		return false, "bool_parsing"
	}
	return false, "bool_type"
}

func booleanWord(s string) (value bool, typ string) {
	switch strings.ToLower(s) {
	case "1", "on", "t", "true", "y", "yes":
		return true, ""
	case "0", "off", "f", "false", "n", "no":
		return false, ""
	}
	return false, "bool_parsing"
}

var boolMessages = map[string]string{
	"bool_type":    "Input should be a valid boolean",
	"bool_parsing": "Input should be a valid boolean, unable to interpret input",
}
