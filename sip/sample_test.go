package sip

import "strings"

// sample is an INVITE of some 900 bytes as a desk phone sends it.
var sample = strings.ReplaceAll(`INVITE sip:service@127.0.0.1:5070 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK-2873-1-0;rport
Max-Forwards: 70
From: "Alice Example" <sip:alice@atlanta.example.com:5061>;tag=2873SIPpTag001
To: "Bob" <sip:bob@biloxi.example.com:5070>
Call-ID: 1-2873@127.0.0.1
CSeq: 1 INVITE
Contact: <sip:alice@127.0.0.1:5061;transport=udp>
User-Agent: Example Phone 3.14.1592 (sample)
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE
Supported: replaces, timer, outbound
Session-Expires: 1800;refresher=uac
Subject: Performance Test
Content-Type: application/sdp
Content-Length: 303

v=0
o=user1 53655765 2353687637 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 6000 RTP/AVP 0 8 18 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=sendrecv
a=rtcp:6001
a=x:1234
`, "\n", "\r\n")

var (
	sinkMessage Message
	sinkRequest *Request
)
