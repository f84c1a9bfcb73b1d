package capi

import (
	"os"
	"strings"
	"testing"
)

// TestPlaces holds the order of functions.txt to the places that ONNX Runtime's own source asserts of the
// last function of each version of the table (onnxruntime_c_api.cc, "Size of version N API cannot change").
func TestPlaces(t *testing.T) {
	list, err := os.ReadFile("functions.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(list))
	if len(names) != tableSize {
		t.Errorf("%d functions, the table has %d", len(names), tableSize)
	}
	for name, place := range map[string]int{
		"ReleaseCustomOpDomain": 101, "ReleaseModelMetadata": 118, "AddFreeDimensionOverrideByName": 124,
		"ReleaseAvailableProviders": 126, "SetGlobalSpinControl": 149, "ReleaseArenaCfg": 157, "GetCurrentGpuDeviceId": 161,
		"CreateSessionFromArrayWithPrepackedWeightsContainer": 169,
	} {
		if names[place] != name {
			t.Errorf("place %d is %s, not %s", place, names[place], name)
		}
	}
	for name, place := range map[string]function{
		"CreateSession": fnCreateSession, "RunWithBinding": fnRunWithBinding, "ReleaseStatus": fnReleaseStatus,
		"CreateTensorWithDataAsOrtValue": fnCreateTensorWithDataAsOrtValue, "GetEpDevices": fnGetEpDevices,
	} {
		if names[place] != name {
			t.Errorf("%s is in the place of %s", name, names[place])
		}
	}
}
