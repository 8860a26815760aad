// Package sip holds SIP messages as values: parse, inspect, edit, print. It does no I/O.
//
// A received message is one immutable string with an index of its header fields. Typed views ([Header.Via],
// [Header.From], [Header.CSeq] ...) parse when asked and are values. Edits lie over the text; printing copies what was
// not touched byte for byte, odd spacing, folds, compact names and unknown fields included. [Request.Clone] shares the
// text and owns its edits, which makes the branches of a fork cheap.
//
// Parsing is lenient and validation is apart from it: [Parse] gives a message for whatever has a start line of SIP,
// and Valid names the first fault with the status code a server answers it with. [Scan] cuts messages out of a stream.
//
// A forwarding proxy in short:
//
//	m, err := sip.Parse(datagram)
//	if err != nil {
//		return // nothing to answer to
//	}
//	req, ok := m.(*sip.Request)
//	if !ok {
//		return // a response: PopVia and send it on
//	}
//	if f := req.Valid(sip.Limits{}); f != nil {
//		send(sip.NewResponse(req, f.Code, f.Reason, newTag()).AppendTo(nil))
//		return
//	}
//	out := req.Clone()
//	out.SetURI(req.URI.WithHostPort("192.0.2.7:5060"))
//	out.PushVia(sip.Via{Transport: "UDP", Host: "192.0.2.1", Params: ";branch=" + newBranch()})
//	out.Prepend("Record-Route", "<sip:192.0.2.1;lr>")
//	if n, err := req.MaxForwards(); err == nil {
//		out.SetMaxForwards(n - 1)
//	}
//	send(out.AppendTo(nil))
//
// It implements the message parts of RFC 3261 (§7, §8.1.1, §8.2.6, §18.3, §19.1, §20, §25), RFC 3581 (rport), RFC 3966
// (tel), RFC 5118 and 5954 (IPv6), RFC 5626 §4.4.1 (keepalives in a stream) and the field syntax of RFC 7616, and reads
// RFC 2543 messages. It is tested with the messages of RFC 4475 and RFC 5118.
package sip
