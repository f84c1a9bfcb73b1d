package main

import (
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/ipc"
	"github.com/vitrine-project/vitrine/internal/oip"
)

// sharedCards hold what clients of this process share of their cards' memory.
var sharedCards = ipc.New(driver.Open)

// cardMemory opens what a client shares, where the native engine computes on cards; elsewhere it is nil, and
// clients are told that there are none.
func (e *engineFlags) cardMemory() oip.OpenCard {
	if b, err := e.backend(); err != nil || b != &cudaBackend {
		return nil
	}
	return func(device int, handle [oip.HandleSize]byte) (oip.CardMemory, error) {
		m, err := sharedCards.Open(device, driver.SharedHandle(handle))
		if err != nil {
			return nil, err
		}
		return m, nil
	}
}
