package embedapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/front"
)

// FuzzRequest sends any body to every route: the answer is JSON, the status is the client's fault or
// success, and the memory is given back.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		`{"images":["aGVsbG8=","data:image\/png;base64,YmFk"],"model_name":"ViT-B-32","pretrained":null,"normalize":"no","partial":1}`,
		`{"images":[1,{"a":[]},"\u0041"],"partial":true}`, `{"images":["http://h","data:,x","data:x;base64,%"],"partial":true}`,
		`{"model":"ViT-B-32","input":["data:;base64,aGVsbG8=",{"type":"image_url","image_url":{"url":"data:;base64,YmFk"}}],"encoding_format":"base64"}`,
		`{"model":"ViT-B-32","input":{"image":null,"image_url":[],"text":"x"},"dimensions":4}`, `{"input":[[1]],"model":"\ud800"}`,
		formPart("files", "hello") + formPart("normalize", "x") + "--B--",
	} {
		f.Add(body)
	}
	shared := front.New(front.Options{MaxBody: 1 << 20})
	h := one(newFake(), shared)
	f.Fuzz(func(t *testing.T, body string) {
		for path, kind := range map[string]string{
			"/embed": "image/png", "/embed/base64": "application/json", "/v1/embeddings": "application/json", "/embed/batch": "multipart/form-data; boundary=B",
		} {
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Header.Set("Content-Type", kind)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s %q: %d %s", path, body, w.Code, w.Body)
			}
			if n := shared.BodyBytes(); n != 0 {
				t.Fatalf("%s %q: %d bytes kept", path, body, n)
			}
		}
	})
}

// FuzzImageString compares with encoding/base64: what the scanner decodes is what was coded.
func FuzzImageString(f *testing.F) {
	f.Add([]byte("hello"), uint8(0))
	f.Add([]byte("\xff\xfe\xfd"), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, how uint8) {
		if len(data) == 0 {
			return
		}
		coding := []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding}[how%4]
		text := coding.EncodeToString(data)
		if how&4 != 0 {
			text = "data:image/jpeg;base64," + text
		}
		got, err := imageString([]byte(text), false, how&4 != 0)
		if err != nil || string(got) != string(data) {
			t.Fatalf("%q: %q, %v", text, got, err)
		}
	})
}
