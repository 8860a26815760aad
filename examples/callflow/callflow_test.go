package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

var title = regexp.MustCompile(`(?m)^\d+\. (.*) → (.*)  [0-9.]+ s$`)

// flow reads a ladder's messages: start lines (responses with their method) for each direction.
func flow(t *testing.T, text string) (map[string][]string, []sip.Message) {
	flows := make(map[string][]string)
	var all []sip.Message
	at := title.FindAllStringSubmatchIndex(text, -1)
	require.NotEmpty(t, at, text)
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		way := strings.ReplaceAll(text[m[2]:m[3]]+" > "+text[m[4]:m[5]], "phone ", "")
		body := strings.ReplaceAll(strings.TrimSpace(text[m[1]:end]), "\n    ", "\r\n")
		if !strings.Contains(body, "\r\n\r\n") {
			body += "\r\n\r\n"
		}
		msg, err := sip.ParseString(body)
		require.NoError(t, err, body)
		_, method, err := msg.Head().CSeq()
		require.NoError(t, err)
		label := string(method)
		if res, ok := msg.(*sip.Response); ok {
			label = body[8:11] + " " + string(method)
			require.NotZero(t, res.Code)
		}
		flows[way] = append(flows[way], label)
		all = append(all, msg)
	}
	return flows, all
}

func play(t *testing.T, name string) (map[string][]string, []sip.Message) {
	var out strings.Builder
	require.NoError(t, run(&out, false, true, []string{name}))
	require.Contains(t, out.String(), "phone 308")
	return flow(t, out.String())
}

func TestDirect(t *testing.T) {
	flows, all := play(t, "direct")
	require.Equal(t, map[string][]string{
		"308 > proxy": {"INVITE"},
		"proxy > 308": {"100 INVITE", "180 INVITE", "200 INVITE"},
		"proxy > 309": {"INVITE"},
		"309 > proxy": {"180 INVITE", "200 INVITE"},
		"308 > 309":   {"ACK", "BYE"},
		"309 > 308":   {"200 BYE"},
	}, flows)
	for _, m := range all {
		require.False(t, m.Head().Has("Record-Route"))
	}
}

func TestCancelled(t *testing.T) {
	flows, all := play(t, "cancelled")
	require.Equal(t, map[string][]string{
		"308 > proxy": {"INVITE", "CANCEL", "ACK"},
		"proxy > 308": {"100 INVITE", "180 INVITE", "200 CANCEL", "487 INVITE"},
		"proxy > 309": {"INVITE", "CANCEL", "ACK"},
		"309 > proxy": {"180 INVITE", "200 CANCEL", "487 INVITE"},
	}, flows)
	branches := make(map[string]bool)
	for _, m := range all {
		v, err := m.Head().Via()
		require.NoError(t, err)
		branches[v.Branch()] = true
	}
	require.Len(t, branches, 2, "one branch a hop")
}

func TestStateless(t *testing.T) {
	flows, _ := play(t, "stateless")
	require.Equal(t, map[string][]string{
		"308 > proxy": {"INVITE"},
		"proxy > 308": {"180 INVITE", "200 INVITE"},
		"proxy > 309": {"INVITE"},
		"309 > proxy": {"180 INVITE", "200 INVITE"},
		"308 > 309":   {"ACK", "BYE"},
		"309 > 308":   {"200 BYE"},
	}, flows)
}

func TestRecorded(t *testing.T) {
	flows, all := play(t, "recorded")
	require.Equal(t, map[string][]string{
		"308 > proxy": {"INVITE", "ACK", "INFO", "200 INFO", "200 BYE"},
		"proxy > 308": {"100 INVITE", "180 INVITE", "200 INVITE", "200 INFO", "INFO", "BYE"},
		"proxy > 309": {"INVITE", "ACK", "INFO", "200 INFO", "200 BYE"},
		"309 > proxy": {"180 INVITE", "200 INVITE", "200 INFO", "INFO", "BYE"},
	}, flows)
	for _, m := range all {
		_, method, _ := m.Head().CSeq()
		if res, ok := m.(*sip.Response); ok && res.Code > 100 && method == sip.INVITE {
			require.Contains(t, m.Head().Get("Record-Route"), ";lr=on;ftag=")
		}
	}
}

func TestUnknownExperiment(t *testing.T) {
	require.ErrorContains(t, run(new(strings.Builder), false, false, []string{"magic"}), `"magic"`)
}

func TestColours(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out, true, false, []string{"direct"}))
	require.Contains(t, out.String(), "\x1b[36m")
}
