package middleware

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAgents(t *testing.T) {
	a := newAgents([]string{"", "sipcli", "pplsip", "\u212aey", "_x"})
	for agent, want := range map[string]bool{
		"": false, "sip": false, "sipcli": true, "SIPCLI/1": true, "a sipCLI": true, "sipcl": false, "ppsipclip": true, "PPLsip": true, "pplsi": false,
		"\u212aey": true, "key": false, "_X": true, "\x7fx": false, "\xff": false,
	} {
		require.Equal(t, want, a.in(agent), "%q", agent)
	}
	require.False(t, newAgents(nil).in("sipcli\xff"))
}
