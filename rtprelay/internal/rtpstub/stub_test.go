package rtpstub

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var digits = regexp.MustCompile(`-?\d+(\.\d+)?`)

// sameButPorts compares replies; the ports that stand first in a reply are mapped by their first use.
func sameButPorts(ports map[string]string, want, got string) bool {
	ww, gg := strings.Fields(want), strings.Fields(got)
	if len(ww) != len(gg) || len(ww) == 0 {
		return want == got
	}
	for i := range ww {
		if len(ww[i]) == 5 && digits.MatchString(ww[i]) && !strings.Contains(ww[i], ".") {
			if old, ok := ports[gg[i]]; ok && old != ww[i] {
				return false
			}
			ports[gg[i]] = ww[i]
			continue
		}
		if ww[i] != gg[i] {
			return false
		}
	}
	return true
}

func TestTranscripts(t *testing.T) {
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	files := map[string]bool{"/TESTDIR/ann.0": true, "/TESTDIR/ann.8": true}
	relays := map[string]func() *Relay{
		"01-version-capabilities.txt": func() *Relay { return &Relay{Notify: true} },
		"02-framing-udp.txt":          func() *Relay { return &Relay{} },
		"04-update-lookup-delete.txt": func() *Relay { return &Relay{Notify: true} },
		"05-info-stats.txt":           func() *Relay { return &Relay{} },
		"06-play-record-copy.txt":     func() *Relay { return &Relay{Files: files} },
		"09-bridge.txt": func() *Relay {
			return &Relay{Bridge: true, Listeners: []Listener{{Addr: v4}, {Addr: netip.MustParseAddr("127.0.0.2")}}}
		},
		"10-ipv6-advertised.txt": func() *Relay {
			return &Relay{Listeners: []Listener{{Addr: v4, Advertise: netip.MustParseAddr("203.0.113.7")}, {Label: "vsix", Addr: v6}}}
		},
		"11-bridge-v4-v6.txt": func() *Relay { return &Relay{Bridge: true, Listeners: []Listener{{Addr: v4}, {Addr: v6}}} },
	}
	for name, relay := range relays {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("../../testdata/rtpproxy/" + name)
			require.NoError(t, err)
			c := &Cookies{Do: relay().Do}
			ports := map[string]string{}
			sent := ""
			for _, line := range strings.Split(string(text), "\n") {
				line = strings.ReplaceAll(line, `\n`, "\n")
				switch {
				case strings.HasPrefix(line, "> "):
					sent = line[2:]
				case strings.HasPrefix(line, "< "):
					got, _ := c.Datagram(sent)
					want := line[2:]
					cookie, _, _ := strings.Cut(sent, " ")
					if counts(sent) {
						want, got = digits.ReplaceAllString(strings.TrimPrefix(want, cookie), "N"), digits.ReplaceAllString(strings.TrimPrefix(got, cookie), "N")
					}
					require.True(t, sameButPorts(ports, want, got), "%s\nwant %q\ngot  %q", sent, want, got)
				}
			}
		})
	}
}

// counts: the reply holds numbers that depend on time or on what was done before.
func counts(sent string) bool {
	_, command, _ := strings.Cut(sent, " ")
	return strings.HasPrefix(command, "Q") || strings.HasPrefix(command, "I") || strings.HasPrefix(command, "G")
}
