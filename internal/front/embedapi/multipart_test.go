package embedapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/front"
)

type namedData struct{ Name, Data string }

func own(body string) (parts []namedData, err error) {
	err = splitForm([]byte(body), "B", func(p part) error {
		parts = append(parts, namedData{p.name, string(p.data)})
		return nil
	})
	return parts, err
}

func standardForm(body string) (parts []namedData, err error) {
	r := multipart.NewReader(strings.NewReader(body), "B")
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return parts, err
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return parts, err
		}
		parts = append(parts, namedData{p.FormName(), string(data)})
	}
}

func formPart(name, data string) string {
	return fmt.Sprintf("--B\r\nContent-Disposition: form-data; name=%q; filename=\"x\"\r\nContent-Type: image/jpeg\r\n\r\n%s\r\n", name, data)
}

var forms = []string{
	formPart("files", "hello") + "--B--\r\n",
	formPart("files", "") + formPart("files", "\r\n--Bx\r\n--\r\n-B") + "--B--",
	"preamble\r\n" + formPart("files", "\x00\xff\r\n") + "--B-- \r\nepilogue",
	"\r\n" + formPart("model_name", "ViT-B-32") + "--B  \r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--B--\r\n",
	"--B\r\nContent-Disposition: form-data; name=empty\r\n\r\n--B--",
	"--B--\r\n", "--B\r\n\r\nx\r\n--B--\r\n", "", "--B", "--B\r\n", "--B\n\nx\n--B--\n", formPart("files", "hello"),
	"--Bx\r\n" + formPart("files", "a") + "--B--", "--B\r\nContent-Disposition: attachment\r\n\r\n\r\n--B--",
}

func TestSplitForm(t *testing.T) {
	for _, body := range forms[:5] {
		got, err := own(body)
		want, stdErr := standardForm(body)
		if err != nil || stdErr != nil || !cmp.Equal(got, want) || len(got) == 0 {
			t.Errorf("%q: %v, %v; the standard library %v, %v", body, got, err, want, stdErr)
		}
	}
	if parts, err := own(forms[5]); err != nil || parts != nil {
		t.Errorf("an empty form: %v, %v", parts, err)
	}
	for _, body := range forms[6:] {
		parts, err := own(body)
		if strings.HasPrefix(body, "--Bx") {
			if err != nil || len(parts) != 1 {
				t.Errorf("%q: %v, %v", body, parts, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%q: no error, %v", body, parts)
		}
	}
}

// plain tells whether every boundary in body is one to both readers: in a line of its own that ends
// in CRLF. Beside a bare LF or CR, or with more behind it, the standard library may see one more or less.
func plain(body string) bool {
	return strings.Count(body, "--B") == len(boundaryLine.FindAllString(body, -1))
}

var boundaryLine = regexp.MustCompile(`(?:^|\r\n)--B(?:[ \t]*\r\n|--[ \t]*(?:$|\r\n))`)

// FuzzMultipart holds the reader to mime/multipart: what it accepts, that accepts too, and the parts
// are the same. (It is stricter: line breaks are CRLF, every part has a name.)
func FuzzMultipart(f *testing.F) {
	for _, body := range forms {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := own(body)
		if err != nil || !plain(body) {
			return
		}
		want, err := standardForm(body)
		if err != nil {
			t.Fatalf("%q: the standard library refuses what was read as %v: %v", body, got, err)
		}
		if !cmp.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", body, got, want)
		}
	})
}

func TestForm(t *testing.T) {
	m := newFake()
	s := server(t, m, front.Options{})
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := range 3 {
		p, err := w.CreateFormFile("files", "a.jpg")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(p, "image\r\n%d", i)
	}
	for key, value := range map[string]string{"model_name": "ViT-B-32", "pretrained": "openai", "normalize": "0"} {
		if err := w.WriteField(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e := ask(t, s, "POST", "/embed/batch", w.FormDataContentType(), body.Bytes()).embedded(t)
	var want [][]float32
	for i := range 3 {
		want = append(want, m.embedding(fmt.Appendf(nil, "image\r\n%d", i), false))
	}
	if diff := cmp.Diff(want, e.Embeddings); diff != "" || e.Count != 3 {
		t.Error(diff)
	}
	other := strings.Replace(body.String(), "ViT-B-32", "ViT-L-14", 1)
	if a := ask(t, s, "POST", "/embed/batch", w.FormDataContentType(), []byte(other)); a.StatusCode != 422 || !strings.Contains(string(a.body), `["body","model_name"]`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
