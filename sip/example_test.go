package sip_test

import (
	"fmt"
	"strings"

	"github.com/sipkit/sipkit/sip"
)

var options = strings.ReplaceAll(`OPTIONS sip:bob@example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKa1;rport
Max-Forwards: 70
f: "Alice" <sip:alice@example.com>;tag=88
To: <sip:bob@example.com>
Call-ID: a84b4c76e66710
CSeq: 1 OPTIONS
X-Odd  :  kept as it is
Content-Length: 0

`, "\n", "\r\n")

// Forwarding changes a few fields; the rest goes out as it came in.
func ExampleRequest_Clone() {
	req, err := sip.ParseRequest(options)
	if err != nil {
		fmt.Println(err)
		return
	}
	out := req.Clone()
	out.SetViaReceived("203.0.113.9", 40123)
	out.SetURI(req.URI.WithHostPort("192.0.2.7"))
	out.PushVia(sip.Via{Transport: "UDP", Host: "192.0.2.1", Params: ";branch=z9hG4bKb2"})
	out.Prepend("Record-Route", "<sip:192.0.2.1;lr>")
	out.SetMaxForwards(69)
	fmt.Print(strings.ReplaceAll(out.String(), "\r\n", "\n"))
	// Output:
	// OPTIONS sip:bob@192.0.2.7 SIP/2.0
	// Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKb2
	// Via: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKa1;rport=40123;received=203.0.113.9
	// Record-Route: <sip:192.0.2.1;lr>
	// Max-Forwards: 69
	// f: "Alice" <sip:alice@example.com>;tag=88
	// To: <sip:bob@example.com>
	// Call-ID: a84b4c76e66710
	// CSeq: 1 OPTIONS
	// X-Odd  :  kept as it is
	// Content-Length: 0
}

// A fault has the code and the reason of the answer.
func ExampleFault() {
	m, err := sip.ParseString(strings.Replace(options, "1 OPTIONS", "1 INVITE", 1))
	if err != nil {
		fmt.Println(err)
		return
	}
	if f := m.Valid(sip.Limits{}); f != nil {
		res := sip.NewResponse(m.(*sip.Request), f.Code, f.Reason, "tag7")
		fmt.Println(res.Code, res.Reason)
		fmt.Println(res.Get("To"))
	}
	// Output:
	// 400 Bad Request (CSeq: not the method of the request)
	// <sip:bob@example.com>;tag=tag7
}

func ExampleURI_Equal() {
	a := sip.MustParseURI("sip:%61lice@atlanta.com;transport=TCP")
	b := sip.MustParseURI("sip:alice@AtLanTa.CoM;Transport=tcp")
	c := sip.MustParseURI("sip:alice@atlanta.com:5060;transport=tcp")
	fmt.Println(a.Equal(b), a.Equal(c))
	// Output: true false
}

func ExampleHeader_Auths() {
	req, err := sip.ParseRequest(strings.Replace(options, "X-Odd  :  kept as it is",
		"Authorization: Digest username=\"alice\", realm=\"example.com\",\r\n nonce=\"84a4cc\", qop=auth", 1))
	if err != nil {
		fmt.Println(err)
		return
	}
	for a, err := range req.Auths("Authorization") {
		nonce, _ := a.Params.Get("nonce")
		qop, _ := a.Params.Get("qop")
		fmt.Println(a.Scheme, nonce, qop, err)
	}
	// Output: Digest 84a4cc auth <nil>
}
