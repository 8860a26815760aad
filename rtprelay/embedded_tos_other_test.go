//go:build !linux

package rtprelay

import "testing"

func tosOf(t *testing.T, _ relaySocket) int {
	t.Skip("traffic classes: Linux only")
	return 0
}
