package interop

import "testing"

func checkTrace(t *testing.T, text string) {}
