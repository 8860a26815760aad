package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// An odd phone knows nothing of rport, writes a private address into Via and Contact, and sends from whatever port it likes.
type odd struct {
	*wire
	name string
	cseq int
}

const private = "192.168.1.2:5060"

// via is the Via of a phone that does not know where it is.
func (o *odd) via() string {
	return fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bKodd%d", strings.ToUpper(o.proto), private, serial.Add(1))
}

func (o *odd) contact() string {
	return "Contact: <sip:" + o.name + "@" + private + ";transport=" + o.proto + ">"
}

func (o *odd) signUp(fields ...string) *sip.Response {
	o.Helper()
	res := o.ask(o.register(o.name, append([]string{o.via(), o.contact()}, fields...)...))
	require.Equal(o, 200, res.Code, "%s", res)
	return res
}

// An oddCall is a call between two odd phones, in the hands of a test.
type oddCall struct {
	caller, callee *odd
	invite         *sip.Request // as it came to the callee
	answer         *sip.Response
}

func (o *odd) call(to *odd, fields ...string) *oddCall {
	o.Helper()
	text := o.request("INVITE", "sip:"+to.name+"@example.com", append([]string{o.via(), o.contact(),
		"From: <sip:" + o.name + "@example.com>;tag=caller", "To: <sip:" + to.name + "@example.com>"}, fields...)...)
	o.send(text)
	c := &oddCall{caller: o, callee: to, invite: to.requested(sip.INVITE)}
	require.Equal(o, "192.168.1.2", c.invite.URI.Host, "the contact as it was registered (REQUIREMENTS 144)")
	to.reply(c.invite, 200, to.contact(), "Session-Expires: 1800;refresher=uac", "Require: timer")
	c.answer = o.final(text)
	require.Equal(o, 200, c.answer.Code, "%s", c.answer)
	o.cseq, to.cseq = 1, 0
	o.send(c.byCaller("ACK"))
	to.requested(sip.ACK)
	return c
}

// byCaller is a request of the caller in the call.
func (c *oddCall) byCaller(method string, fields ...string) string {
	o := c.caller
	if method != "ACK" {
		o.cseq++
	}
	return o.request(method, "sip:"+c.callee.name+"@"+private+";transport="+o.proto, slices.Concat([]string{o.via(), o.contact(), "From: " + c.answer.Get("From"),
		"To: " + c.answer.Get("To"), "Call-ID: " + c.answer.CallID(), fmt.Sprint("CSeq: ", o.cseq, " ", method)}, routes(c.answer), fields)...)
}

// byCallee is one of the callee.
func (c *oddCall) byCallee(method string, fields ...string) string {
	o := c.callee
	o.cseq++
	list := []string{o.via(), o.contact(), "From: " + c.answer.Get("To"), "To: " + c.answer.Get("From"), "Call-ID: " + c.answer.CallID(), fmt.Sprint("CSeq: ", o.cseq, " ", method)}
	for rr := range c.invite.Values("Record-Route") {
		list = append(list, "+Route: "+rr)
	}
	return o.request(method, "sip:"+c.caller.name+"@"+private+";transport="+o.proto, append(list, fields...)...)
}

// passes sends a request of one phone and has the other answer it; it gives what the other saw.
func passes(from, to *odd, text string, code int, fields ...string) *sip.Request {
	from.Helper()
	from.send(text)
	method, _, _ := strings.Cut(text, " ")
	req := to.requested(sip.Method(method))
	to.reply(req, code, fields...)
	require.Equal(from, code, from.final(text).Code, text)
	return req
}

// quiet: nothing has come to a phone.
func (o *odd) quiet() {
	o.Helper()
	text, err := o.next(10 * time.Millisecond)
	require.Error(o, err, text)
}

func TestOddPhones(t *testing.T) {
	onEach(t, served(t, "-media", "never"), func(w *wire) {
		addr := w.conn.RemoteAddr().String()
		n := serial.Add(1)
		at := func(name string) *odd {
			return &odd{wire: wired(w.T, w.proto, addr), name: fmt.Sprint(name, n)}
		}
		alice, bob := at("alice"), at("bob")
		res := alice.signUp()
		via, err := res.Via()
		require.NoError(w, err)
		received, _ := via.Params.Get("received")
		require.Equal(w, "127.0.0.1", received, "REQUIREMENTS 140")
		bob.signUp()

		// requests both ways, re-INVITE and OPTIONS included; what session timers need passes (RFC 4028)
		c := alice.call(bob, "Session-Expires: 1800", "Min-SE: 90", "Supported: timer")
		require.Equal(w, "1800", c.invite.Get("Session-Expires"))
		require.Equal(w, "90", c.invite.Get("Min-SE"))
		require.Equal(w, "timer", c.invite.Get("Supported"))
		require.Equal(w, "1800;refresher=uac", c.answer.Get("Session-Expires"))
		require.Equal(w, "timer", c.answer.Get("Require"))
		for _, m := range []string{"OPTIONS", "INFO", "UPDATE", "MESSAGE", "REFER", "NOTIFY", "SUBSCRIBE", "PRACK", "FOO"} {
			passes(alice, bob, c.byCaller(m), 200)
			passes(bob, alice, c.byCallee(m, "Session-Expires: 90"), 200)
		}
		for range 2 {
			passes(alice, bob, c.byCaller("INVITE", "Session-Expires: 90"), 200, bob.contact())
			alice.send(c.byCaller("ACK"))
			bob.requested(sip.ACK)
			passes(bob, alice, c.byCallee("INVITE"), 200, alice.contact())
			bob.send(strings.Replace(c.byCallee("ACK"), fmt.Sprint("CSeq: ", bob.cseq), fmt.Sprint("CSeq: ", bob.cseq-1), 1))
			alice.requested(sip.ACK)
		}
		passes(alice, bob, c.byCaller("UPDATE", "Session-Expires: 30"), 422, "Min-SE: 90")
		passes(bob, alice, c.byCallee("BYE"), 200)

		// The BYE comes from another port, or over another connection, and its answer goes there.
		for _, byCallee := range []bool{false, true} {
			c = alice.call(bob)
			elsewhere := &odd{wire: wired(w.T, w.proto, addr), name: "elsewhere"}
			text, other := c.byCaller("BYE"), bob
			if byCallee {
				text, other = c.byCallee("BYE"), alice
			}
			passes(elsewhere, other, text, 200)
		}

		// Its NAT has given the phone another port meanwhile; then it was switched off and on.
		moved := at("bob")
		moved.signUp("Call-ID: same"+bob.name, "CSeq: 1 REGISTER")
		again := at("bob")
		require.Len(w, slices.Collect(again.signUp("Call-ID: same"+bob.name, "CSeq: 2 REGISTER").Values("Contact")), 1)
		passes(again, alice, alice.call(again).byCallee("BYE"), 200)
		rebooted := at("bob")
		require.Len(w, slices.Collect(rebooted.signUp("Call-ID: new"+bob.name, "CSeq: 1 REGISTER").Values("Contact")), 1)
		passes(rebooted, alice, alice.call(rebooted).byCallee("BYE"), 200)
		for _, old := range []*odd{bob, moved, again} {
			old.quiet()
		}

		// outside calls
		message := func(m, to string, fields ...string) string {
			return alice.request(m, "sip:"+to+"@example.com", append([]string{alice.via(), "To: <sip:" + to + "@example.com>"}, fields...)...)
		}
		passes(alice, rebooted, message("MESSAGE", rebooted.name), 202)
		passes(alice, rebooted, message("SUBSCRIBE", rebooted.name, "Event: presence"), 489)
		passes(alice, rebooted, message("OPTIONS", rebooted.name), 200)
		for m, code := range map[string]int{"MESSAGE": 404, "SUBSCRIBE": 404, "OPTIONS": 404, "INVITE": 404, "PUBLISH": 404} {
			require.Equal(w, code, alice.ask(message(m, "offline", "Event: presence")).Code, m)
		}
		require.Equal(w, 481, alice.ask(message("CANCEL", rebooted.name)).Code)
		require.Equal(w, 404, alice.ask(message("BYE", rebooted.name, "To: <sip:x@example.com>;tag=x")).Code)
	})
}
