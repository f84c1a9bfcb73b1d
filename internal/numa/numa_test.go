package numa

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// tree is the part of /sys that a machine of two nodes has of two cards, and of a device that is nowhere.
var tree = fstest.MapFS{
	"bus/pci/devices/0000:3b:00.0/numa_node":     {Data: []byte("0\n")},
	"bus/pci/devices/0000:3b:00.0/local_cpulist": {Data: []byte("0-3,8-11\n")},
	"bus/pci/devices/0000:af:00.0/numa_node":     {Data: []byte("1\n")},
	"bus/pci/devices/0000:af:00.0/local_cpulist": {Data: []byte("4-7,12\n")},
	"bus/pci/devices/0001:00:00.0/numa_node":     {Data: []byte("-1\n")},
	"bus/pci/devices/0001:00:00.0/local_cpulist": {Data: []byte("0-12\n")},
	"bus/pci/devices/0000:01:00.0/numa_node":     {Data: []byte("none\n")},
	"bus/pci/devices/0000:01:00.0/local_cpulist": {Data: []byte("3-1\n")},
}

func TestLocate(t *testing.T) {
	for _, c := range []struct {
		address string
		want    Place
		text    string
	}{
		{"0000:3B:00.0", Place{0, []int{0, 1, 2, 3, 8, 9, 10, 11}}, "node 0 (processors 0-3,8-11)"},
		{"0000:af:00.0", Place{1, []int{4, 5, 6, 7, 12}}, "node 1 (processors 4-7,12)"},
		{"00000000:AF:00.0", Place{1, []int{4, 5, 6, 7, 12}}, "node 1 (processors 4-7,12)"},
		{"00000001:00:00.0", Place{Unknown, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}, "no node (processors 0-12)"},
		{"0000:01:00.0", Place{Unknown, nil}, "no node"},
		{"0000:ff:00.0", Place{Unknown, nil}, "no node"},
		{"", Place{Unknown, nil}, "no node"},
		{"../../..", Place{Unknown, nil}, "no node"},
	} {
		got := Locate(tree, c.address)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: %s", c.address, diff)
		}
		if got.String() != c.text {
			t.Errorf("%q: %q, want %q", c.address, got, c.text)
		}
	}
}

func TestParseListRefuses(t *testing.T) {
	for _, text := range []string{"a", "1-", "-1", "3-1", "0,0", "2,1", "0-3,3", "0-9999999", "8192", "1,,2", "0-4294967296"} {
		if got, err := parseList(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// FuzzParseList: what is read is ascending, bounded, and written back as a list that reads the same.
func FuzzParseList(f *testing.F) {
	for _, text := range []string{"0-3,8", "0", "", "5-5", "1,3,5", "0-8191", "x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseList(text)
		if err != nil || len(all) == 0 {
			return
		}
		if !slices.IsSorted(all) || all[0] < 0 || all[len(all)-1] >= most {
			t.Fatalf("%q: %v", text, all)
		}
		again, err := parseList(formatList(all))
		if err != nil || !slices.Equal(all, again) {
			t.Fatalf("%q became %q: %v", text, formatList(all), err)
		}
	})
}
