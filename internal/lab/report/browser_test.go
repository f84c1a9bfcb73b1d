package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// probe writes into the page's title how wide the page is and what is wider than its window.
const probe = `<script>onload=()=>{const w=document.documentElement;document.title="probe "+(w.scrollWidth<=w.clientWidth?"fits":"overflows")+
" svg="+document.querySelectorAll("svg.chart").length+" empty="+[...document.querySelectorAll("svg.chart")].filter(s=>s.getBoundingClientRect().height<80).length}</script>`

// In a real browser the page is no wider than a phone's window and each chart has a size.
func TestPageFitsAPhone(t *testing.T) {
	browser := findBrowser()
	if browser == "" {
		t.Skip("no Chromium here")
	}
	d := build("", []*run{study(1)}, nil)
	var b bytes.Buffer
	if err := d.HTML(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, bytes.Replace(b.Bytes(), []byte("</head>"), []byte(probe+"</head>"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, width := range []int{360, 1280} {
		out, err := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
			fmt.Sprintf("--window-size=%d,800", width), "--dump-dom", "file://"+path).Output()
		if err != nil {
			t.Skipf("the browser does not run here: %v", err)
		}
		want := fmt.Sprintf("<title>probe fits svg=%d empty=0</title>", len(d.Charts()))
		if !strings.Contains(string(out), want) {
			from := max(strings.Index(string(out), "<title>"), 0)
			t.Errorf("at %d pixels: %.80s, want %s", width, out[from:], want)
		}
	}
}

func findBrowser() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
