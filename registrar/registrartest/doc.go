// Package registrartest checks implementations of registrar.Store.
//
//	func TestMyStore(t *testing.T) {
//		registrartest.TestStore(t, func(t *testing.T) registrar.Store {
//			s := mystore.New()
//			t.Cleanup(func() { s.Close() })
//			return s
//		})
//	}
//
// TestDurable is for stores that outlive their process. Both run in real time and take some seconds.
package registrartest
