package repository

import (
	"fmt"
	"slices"
	"strconv"
)

// Select returns which of the versions that exist the policy serves, ascending. It fails if none is.
func (p *VersionPolicy) Select(model string, exist []int64) ([]int64, error) {
	sorted := slices.Sorted(slices.Values(exist))
	var chosen []int64
	switch {
	case p.All != nil:
		chosen = sorted
	case p.Specific != nil:
		for _, v := range sorted {
			if slices.Contains(p.Specific.Versions, v) {
				chosen = append(chosen, v)
			}
		}
	case p.Latest != nil:
		chosen = sorted[max(0, len(sorted)-int(min(p.Latest.NumVersions, 1<<20))):]
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("at least one version must be available under the version policy of model '%s'", model)
	}
	return chosen, nil
}

// parseVersion reads a version folder's name: a number above 0 without leading zeros.
func parseVersion(name string) (int64, bool) {
	v, err := strconv.ParseInt(name, 10, 64)
	return v, err == nil && v > 0 && name == strconv.FormatInt(v, 10)
}
