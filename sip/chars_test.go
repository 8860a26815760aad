package sip

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendNumber(t *testing.T) {
	for _, n := range []int{0, 9, 10, 69, 99, 100, 5060, 65535, math.MaxInt32, -1} {
		require.Equal(t, "x"+strconv.Itoa(n), string(appendInt([]byte("x"), n)))
	}
}

func TestPortAt(t *testing.T) {
	for s, want := range map[string]struct {
		port uint16
		end  int
	}{"": {0, 0}, "x": {0, 0}, "0": {0, 1}, "5060;lr": {5060, 4}, "05060": {5060, 5}, "65535": {65535, 5}, "65536": {0, 5}, "123456": {12345, 5}} {
		port, end := portAt("h:"+s, 2)
		require.Equal(t, want.port, port, s)
		require.Equal(t, 2+want.end, end, s)
	}
}
