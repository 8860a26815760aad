package dialog_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/sipkit/sipkit/dialog"
	"github.com/stretchr/testify/require"
)

func event() dialog.Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return dialog.Event{
		Kind: dialog.Stop, ID: dialog.ID{CallID: "a84b4c76e66710@pc33", CallerTag: "1928301774", CalleeTag: "314159"},
		Time: at.Add(time.Minute), From: "sip:alice@example.com", To: "sip:bob@example.com", Dialed: "sip:bob@example.com",
		Source: "udp:192.0.2.1:5060", Target: "udp:192.0.2.2:5060", Code: 200, Reason: `ended by "root"`, By: dialog.Proxy,
		Invited: at.Add(-3 * time.Second), Answered: at, Ended: at.Add(time.Minute), Setup: 3 * time.Second, Duration: time.Minute,
		Media: &dialog.Media{Packets: [2]uint64{3000, 2999}, Lost: [2]uint64{0, 1}},
	}
}

func ExampleEvent_String() {
	fmt.Println(event())
	// Output: STOP call-id=a84b4c76e66710@pc33 caller-tag=1928301774 callee-tag=314159 from=sip:alice@example.com to=sip:bob@example.com dialed=sip:bob@example.com source=udp:192.0.2.1:5060 target=udp:192.0.2.2:5060 code=200 reason="ended by \"root\"" by=proxy invited=2026-01-02T03:04:02Z answered=2026-01-02T03:04:05Z ended=2026-01-02T03:05:05Z setup=3s duration=1m0s packets-caller=3000 packets-callee=2999 lost-caller=0 lost-callee=1
}

func TestEventLog(t *testing.T) {
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("call", "event", event())
	require.Contains(t, b.String(), `"event":{"kind":"STOP","call-id":"a84b4c76e66710@pc33"`)
	require.Contains(t, b.String(), `"duration":60000000000`)
}

// TestEventLine: what strangers write cannot forge a line or a field of one.
func TestEventLine(t *testing.T) {
	e := event()
	e.CallID = "x by=proxy\nSTOP"
	require.Contains(t, e.String(), `call-id="x by=proxy\nSTOP" `)
	require.NotContains(t, e.String(), "\n")
}

func TestNames(t *testing.T) {
	require.Equal(t, "Kind(0) MISSED Kind(99)", fmt.Sprint(dialog.Kind(0), " ", dialog.Missed, " ", dialog.Kind(99)))
	require.Equal(t, "caller Side(9)", fmt.Sprint(dialog.Caller, " ", dialog.Side(9)))
	require.Equal(t, "early confirmed ended", fmt.Sprint(dialog.Early, " ", dialog.Confirmed, " ", dialog.Ended))
}
