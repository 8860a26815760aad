package sip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// placesAgree wants the places to be those that a search finds.
func placesAgree(t *testing.T, h *Header) {
	t.Helper()
	for id := idBad; id < idCount; id++ {
		want := -1
		for i, f := range h.list() {
			if f.id == id {
				want = i
				break
			}
		}
		require.Equal(t, want, h.first(id), "%s in %q", fieldNames[id], h.text)
	}
}

// Fields are found where edits left them, also in a header that grows beyond what is held inline and shrinks again.
func TestPlaces(t *testing.T) {
	for _, fields := range []int{0, 5, inlineFields - 6, inlineFields - 5, inlineFields, inlineFields + 5, 200} {
		r, err := ParseRequest(sample)
		require.NoError(t, err)
		for i := range fields {
			r.Add(fmt.Sprintf("X-%d", i), "x")
		}
		placesAgree(t, r.Head())
		for _, name := range []string{"Via", "To", "From", "Contact", "Content-Length", "X-0", "Proxy-Require", "Alert-Info", "Allow-Events", "Via"} {
			r.Prepend(name, "a")
			placesAgree(t, r.Head())
			r.Add(name, "b")
			placesAgree(t, r.Head())
			again, err := ParseRequest(r.String())
			require.NoError(t, err)
			placesAgree(t, again.Head())
		}
		for _, name := range []string{"To", "Via", "Via", "Allow-Events", "Contact", "From", "From"} {
			r.PopFirst(name)
			placesAgree(t, r.Head())
		}
		for r.count > 0 {
			r.remove(int(r.count) / 2)
			placesAgree(t, r.Head())
		}
		r.PushVia(Via{Transport: "UDP", Host: "h"})
		r.Set("From", "<sip:a@b>")
		placesAgree(t, r.Head())
	}
}

// The same for one edit of each field that is inline.
func TestPlacesInline(t *testing.T) {
	for i := range 14 {
		r, err := ParseRequest(strings.Replace(sample, "Via: ", "Via: SIP/2.0/UDP h;branch=z9hG4bK0\r\nVia: ", 1))
		require.NoError(t, err)
		require.Nil(t, r.more)
		c := r.Clone()
		f := c.list()[i]
		c.remove(i)
		placesAgree(t, c.Head())
		*c.insert(i/2, f.id) = f
		placesAgree(t, c.Head())
		f = c.list()[0]
		*c.insert(i, f.id) = f
		placesAgree(t, c.Head())
		placesAgree(t, r.Head())
	}
}

// What is as in everyday calls is accepted at a glance, and only that.
func TestPlainFieldsAgree(t *testing.T) {
	head := "INVITE sip:a@b SIP/2.0\r\n"
	via, from, to, id, cseq := "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", "From: <sip:a@b>;tag=1\r\n", "To: <sip:a@b>\r\n", "Call-ID: 1@h\r\n", "CSeq: 1 INVITE\r\n"
	for _, tc := range []struct {
		fields string
		plain  bool
	}{
		{via + from + to + id + cseq, true},
		{via + via + via + via + from + to + id + cseq + "Max-Forwards: 70\r\nContact: <sip:a@b>\r\nContent-Length: 0\r\n", true},
		{from + to + id + cseq, false},
		{via + to + id + cseq, false},
		{via + from + id + cseq, false},
		{via + from + to + cseq, false},
		{via + from + to + id, false},
		{via + from + from + to + id + cseq, false},
		{via + from + to + to + id + cseq, false},
		{via + from + to + id + id + cseq, false},
		{via + from + to + id + cseq + cseq, false},
		{via + from + to + id + cseq + "Max-Forwards: 7\r\nMax-Forwards: 7\r\n", false},
		{via + from + to + id + cseq + "Contact: <sip:a@b>\r\nContact: x\r\n", false},
		{via + from + to + id + cseq + "Contact: x y\r\n", false},
		{via + from + to + id + cseq + "Max-Forwards: 256\r\n", false},
		{via + from + to + id + "CSeq: 1 ACK\r\n", false},
		{via + from + to + "Call-ID: a b\r\n" + cseq, false},
		{via + via + "Via: x\r\n" + from + to + id + cseq, false},
		{via + via + via + "Via: x\r\n" + from + to + id + cseq, false},
		{via + from + to + id + cseq + "no field\r\n", false},
		{via + from + to + id + cseq + "Content-Length: 9\r\n", false},
	} {
		r, err := ParseRequest(head + tc.fields + "\r\n")
		require.NoError(t, err)
		l := Limits{}
		require.Equal(t, tc.plain, r.plainFields(&l, r.Method, true), tc.fields)
		if tc.plain {
			require.Nil(t, r.checkFields(&l, r.Method, true), tc.fields)
		}
	}
	r, err := ParseRequest(head + via + via + via + from + to + id + cseq + "\r\n")
	require.NoError(t, err)
	require.Nil(t, r.Valid(Limits{Vias: 3}))
	require.NotNil(t, r.Valid(Limits{Vias: 2}))
	r.SetViaReceived("192.0.2.1", 5)
	require.True(t, r.plainFields(&Limits{}, r.Method, true))
	r.Set("To", "<sip:b@c>")
	require.False(t, r.plainFields(&Limits{}, r.Method, true)) // an edit is looked at
	require.Nil(t, r.Valid(Limits{}))
	r.Add("To", "<sip:b@c>")
	require.NotNil(t, r.Valid(Limits{}))
}
