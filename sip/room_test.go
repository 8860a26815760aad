package sip

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Memory of a copy is written on again when nobody uses the copy any more. What it shared with the message it was made of stays that one's.
func TestCloneInto(t *testing.T) {
	first := mustRequest(t, invite)
	first.Set("X-Long", strings.Repeat("x", cloneRoom))
	want := first.String()
	spare := first.Clone()

	second := mustRequest(t, invite)
	second.SetMaxForwards(7)
	second.CloneInto(spare)
	require.Equal(t, second.String(), spare.String())
	require.Equal(t, want, first.String())

	marked := second.String()
	for _, r := range []*Request{spare, second} {
		r.PushVia(Via{Transport: "UDP", Host: "h", Params: ";branch=z9hG4bKx"})
		r.SetMaxForwards(8)
	}
	require.Equal(t, spare.String(), second.String())
	spare.Set("X-Own", "spare")
	second.PopVia()
	second.SetMaxForwards(7)
	require.Equal(t, marked, second.String())
	require.Equal(t, want, first.String())
}
