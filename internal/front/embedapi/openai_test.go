package embedapi

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/front"
)

const hello = "data:image/png;base64,aGVsbG8="

func TestOpenAIInputs(t *testing.T) {
	m := newFake()
	s := server(t, m, front.Options{})
	want := m.embedding([]byte("hello"), true)
	for _, input := range []string{
		`"` + hello + `"`, `["` + hello + `"]`, `[{"image":"` + hello + `"}]`, `{"image":"` + hello + `"}`,
		`[{"type":"image_url","image_url":{"url":"` + hello + `","detail":"low"}}]`, `[{"type":"image_url","image_url":"` + hello + `"}]`,
		`["` + strings.ReplaceAll(hello, "/", `\/`) + `"]`,
	} {
		for _, format := range []string{``, `,"encoding_format":"float"`, `,"encoding_format":"base64"`, `,"encoding_format":null,"dimensions":4,"user":"u"`} {
			a := ask(t, s, "POST", "/v1/embeddings", "application/json", []byte(`{"model":"ViT-B-32","input":`+input+format+`}`))
			var list struct {
				Object string
				Model  string
				Data   []struct {
					Object    string
					Index     int
					Embedding json.RawMessage
				}
				Usage map[string]int
			}
			if err := json.Unmarshal(a.body, &list); err != nil || a.StatusCode != 200 || len(list.Data) != 1 || list.Object != "list" || list.Data[0].Object != "embedding" || list.Model != "ViT-B-32" {
				t.Fatalf("%s%s: %d %s", input, format, a.StatusCode, a.body)
			}
			if _, ok := list.Usage["total_tokens"]; !ok {
				t.Errorf("no usage: %s", a.body)
			}
			got := decodeEmbedding(t, list.Data[0].Embedding)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s%s: %s", input, format, diff)
			}
		}
	}
}

func decodeEmbedding(t *testing.T, raw json.RawMessage) (v []float32) {
	t.Helper()
	var text string
	if json.Unmarshal(raw, &text) != nil {
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return floats(t, b)
}

func TestOpenAIRefusals(t *testing.T) {
	s := server(t, newFake(), front.Options{})
	for _, c := range []struct {
		body, param, code, says string
		status                  int
	}{
		{`{"model":"ViT-B-32","input":"a photo of a cat"}`, "input", "text_input_unsupported", "not text", 400},
		{`{"model":"ViT-B-32","input":["` + hello + `","a cat"]}`, "input[1]", "text_input_unsupported", "not text", 400},
		{`{"model":"ViT-B-32","input":[1,2,3]}`, "input[0]", "text_input_unsupported", "not text", 400},
		{`{"model":"ViT-B-32","input":[[1,2,3]]}`, "input[0]", "text_input_unsupported", "not text", 400},
		{`{"model":"ViT-B-32","input":[{"type":"text","text":"a cat"}]}`, "input[0]", "text_input_unsupported", "not text", 400},
		{`{"model":"ViT-B-32","input":["https://h/a.jpg"]}`, "input[0]", "", "not fetched", 400},
		{`{"model":"ViT-B-32","input":[{"type":"image_url","image_url":{"url":"https://h/a.jpg"}}]}`, "input[0]", "", "not fetched", 400},
		{`{"model":"ViT-B-32","input":[{}]}`, "input[0]", "", "exactly one image", 400},
		{`{"model":"ViT-B-32","input":[{"image":"` + hello + `","text":"a cat"}]}`, "input[0]", "", "exactly one image", 400},
		{`{"model":"ViT-B-32","input":[null]}`, "input[0]", "", "data URI", 400},
		{`{"model":"ViT-B-32","input":[]}`, "input", "", "empty", 400},
		{`{"model":"ViT-B-32","input":["data:image/png;base64,%%%"]}`, "input[0]", "", "not base64", 400},
		{`{"model":"ViT-B-32","input":["data:image/png,raw"]}`, "input[0]", "", "not base64", 400},
		{`{"model":"ViT-B-32","input":["data:image/png;base64,YmFk"]}`, "input[0]", "", "not an image", 400},
		{`{"model":"ViT-B-32","input":["` + strings.Repeat(hello+`","`, 4) + hello + `"]}`, "input", "", "more than 4", 400},
		{`{"model":"text-embedding-3-small","input":"` + hello + `"}`, "model", "model_not_found", "does not exist", 404},
		{`{"input":"` + hello + `"}`, "model", "", "must provide", 400},
		{`{"model":"ViT-B-32"}`, "input", "", "must provide", 400},
		{`{"model":7,"input":"` + hello + `"}`, "model", "", "string", 400},
		{`{"model":"ViT-B-32","model":"x","input":"` + hello + `"}`, "model", "", "more than once", 400},
		{`{"model":"ViT-B-32","input":"` + hello + `","dimensions":256}`, "dimensions", "", "cannot be shortened", 400},
		{`{"model":"ViT-B-32","input":"` + hello + `","encoding_format":"hex"}`, "encoding_format", "", "base64", 400},
		{`[]`, "", "", "object", 400},
		{``, "", "", "object", 400},
		{`{"model"`, "", "", "delimiter", 400},
	} {
		a := ask(t, s, "POST", "/v1/embeddings", "application/json", []byte(c.body))
		var e struct {
			Error struct {
				Message, Type string
				Param, Code   *string
			}
		}
		if err := json.Unmarshal(a.body, &e); err != nil {
			t.Fatalf("%s: %s", c.body, a.body)
		}
		text := func(p *string) string {
			if p == nil {
				return ""
			}
			return *p
		}
		if a.StatusCode != c.status || text(e.Error.Param) != c.param || text(e.Error.Code) != c.code || !strings.Contains(e.Error.Message, c.says) || e.Error.Type != "invalid_request_error" {
			t.Errorf("%s:\n%d %s", c.body, a.StatusCode, a.body)
		}
	}
}

func TestOpenAIModels(t *testing.T) {
	s := server(t, newFake(), front.Options{})
	var list struct {
		Data []struct{ ID string }
	}
	if err := json.Unmarshal(ask(t, s, "GET", "/v1/models", "", nil).body, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Data) != 4 {
		t.Fatalf("%+v", list)
	}
	for _, m := range list.Data {
		if a := ask(t, s, "GET", "/v1/models/"+m.ID, "", nil); a.StatusCode != 200 {
			t.Errorf("%s: %d", m.ID, a.StatusCode)
		}
		body := []byte(`{"model":"` + m.ID + `","input":"` + hello + `"}`)
		if a := ask(t, s, "POST", "/v1/embeddings", "", body); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", m.ID, a.StatusCode, a.body)
		}
	}
	if a := ask(t, s, "GET", "/v1/models/gpt-4", "", nil); a.StatusCode != 404 || !strings.Contains(string(a.body), "model_not_found") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestOfficialClient runs OpenAI's own Python client against the API. VITRINE_PYTHON names a Python
// that has it.
func TestOfficialClient(t *testing.T) {
	python := os.Getenv("VITRINE_PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import openai").CombinedOutput(); err != nil {
		t.Skipf("%s cannot import openai (set VITRINE_PYTHON): %v %s", python, err, out)
	}
	s := server(t, newFake(), front.Options{})
	out, err := exec.Command(python, "testdata/openai_client.py", s.URL+"/v1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all answers as expected") {
		t.Errorf("%v\n%s", err, out)
	}
}
