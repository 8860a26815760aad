package registrar_test

import (
	"testing"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/registrar/registrartest"
)

func TestMemoryKit(t *testing.T) {
	registrartest.TestStore(t, func(t *testing.T) registrar.Store {
		m := new(registrar.Memory)
		t.Cleanup(func() { m.Close() })
		return m
	})
}
