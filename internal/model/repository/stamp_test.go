package repository

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, root, path, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestASharedQueuesVersions are those that its owner serves; its own policy chooses among them.
func TestASharedQueuesVersions(t *testing.T) {
	const shared = `backend: "vitrine" parameters { key: "queue_of" value { string_value: "m" } } `
	root := layout(t, map[string]string{
		"m/config.pbtxt": `backend: "vitrine" version_policy { specific { versions: [ 1, 3 ] } }`, "m/1/x": "", "m/2/x": "", "m/3/x": "",
		"latest/config.pbtxt": shared, "all/config.pbtxt": shared + `version_policy { all { } }`,
	})
	r := open(t, root)
	for name, want := range map[string][]int64{"m": {1, 3}, "latest": {3}, "all": {1, 3}} {
		m, err := r.Model(name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, m.Versions); d != "" || (m.Owner == nil) != (name == "m") {
			t.Errorf("%s: owner %v, %s", name, m.Owner, d)
		}
	}
	before, err := r.Stamp("all")
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "m/3/x", "new weights")
	if after, err := r.Stamp("all"); err != nil || after == before {
		t.Errorf("the owner's new weights leave the stamp as it was, %v", err)
	}
}

// TestVersionStamps tell which versions a change concerns.
func TestVersionStamps(t *testing.T) {
	root := layout(t, map[string]string{"m/config.pbtxt": `backend: "b" version_policy { all { } }`, "m/1/x": "", "m/2/x": "", "m/labels": "a"})
	r := open(t, root)
	stamps := func() (s [3]string) {
		t.Helper()
		m, err := r.Model("m")
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range []func() (string, error){
			func() (string, error) { return m.VersionStamp(1) }, func() (string, error) { return m.VersionStamp(2) }, m.ConfigStamp,
		} {
			if s[i], err = f(); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	link := func(target string) {
		t.Helper()
		_ = os.Remove(filepath.Join(root, "m/1/current"))
		if err := os.Symlink(target, filepath.Join(root, "m/1/current")); err != nil {
			t.Fatal(err)
		}
	}
	other := layout(t, map[string]string{"a": "x", "b": "x"})
	last := stamps()
	for _, c := range []struct {
		what    string
		do      func()
		changes [3]bool
	}{
		{"nothing", func() {}, [3]bool{}},
		{"a file of version 2", func() { write(t, root, "m/2/x", "y") }, [3]bool{false, true, false}},
		{"the labels", func() { write(t, root, "m/labels", "ab") }, [3]bool{false, false, true}},
		{"the configuration", func() { write(t, root, "m/config.pbtxt", `backend: "c" version_policy { all { } }`) }, [3]bool{true, true, true}},
		{"a link", func() { link(filepath.Join(other, "a")) }, [3]bool{true, false, false}},
		{"another target of the link", func() { link(filepath.Join(other, "b")) }, [3]bool{true, false, false}},
	} {
		c.do()
		now := stamps()
		for i := range now {
			if (now[i] != last[i]) != c.changes[i] {
				t.Errorf("%s: stamp %d changed: %v", c.what, i, now[i] != last[i])
			}
		}
		last = now
	}
}

func TestOverride(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	files := map[string][]byte{"file:2/weights": []byte("w"), "file:warmup/cat": []byte("c")}
	m, done, err := Override("m", `{"backend":"vitrine","default_model_filename":"weights"}`, files)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(m.File(2)); err != nil || string(b) != "w" || !cmp.Equal(m.Versions, []int64{2}) {
		t.Errorf("%q, %v, %v", b, m.Versions, err)
	}
	if b, err := os.ReadFile(filepath.Join(m.Dir, "warmup", "cat")); err != nil || string(b) != "c" {
		t.Errorf("%q, %v", b, err)
	}
	if err := done(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ name, config, want string }{
		{"m", "", "'config' must be specified"}, {"../m", "{}", "invalid name"}, {"m", "{", "unexpected"}, {"m", `{"backend":"b","version_policy":{"specific":{"versions":[1]}}}`, "at least one version"},
	} {
		if _, _, err := Override(c.name, c.config, files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
}

// FuzzOverride writes files of any name: they lie below the model's folder, or nothing is written.
func FuzzOverride(f *testing.F) {
	for _, key := range []string{"file:1/model", "file:../x", "file:/etc/x", "file:1/../../x", "file:", "config", "file:1/./x", "file:a\\b", "file:\x00"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		root := t.TempDir()
		dir := filepath.Join(root, "m")
		wrote := writeOverride(dir, key, []byte("x")) == nil
		var found []string
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				found = append(found, path)
			}
			return err
		})
		if err != nil || wrote != (len(found) == 1) {
			t.Fatalf("%q: written %v, found %q, %v", key, wrote, found, err)
		}
		if wrote && found[0] != filepath.Join(dir, strings.TrimPrefix(key, filePrefix)) {
			t.Errorf("%q is at %q", key, found[0])
		}
	})
}
