package sip

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is not well-formed costs no more than what is: an input whose cost is the square of its length takes minutes here, where each line is done in milliseconds.
func TestCostIsLinear(t *testing.T) {
	const n = 1 << 20
	require.Equal(t, n, commaAt(strings.Repeat("<", n)+","), "angles that are never closed")
	require.Equal(t, 2*n+1, commaAt(`"`+strings.Repeat(`\"`, n)+","), "a quote that is never closed")
	v, ok := Params(`;a="` + strings.Repeat(`\"`, n)).Get("b")
	require.False(t, ok, v)
	v, ok = Params(";b =a" + strings.Repeat(`\"`, n)).Get("b")
	require.True(t, ok)
	require.Len(t, v, 1+2*n)
	one, rest := cutAuthComma(`a="` + strings.Repeat(`\"`, n) + ",b")
	require.Len(t, one, 3+2*n)
	require.Equal(t, "b", rest)
	require.Equal(t, Params(";x"), Params(strings.Repeat(";a", n)+";x"+strings.Repeat(";A=1", n)).Without("a"))
	require.Equal(t, 2*n, addrParamsAt(strings.Repeat(`""`, n)))
}
