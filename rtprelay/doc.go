// Package rtprelay puts a media relay between the two parties of a call, so that their RTP passes through NATs, from private
// networks to public ones and from IPv4 to IPv6.
//
// An [Engine] takes a session description and gives it back with the relay's addresses and ports in place of the party's. It is asked with
// Offer and Answer, one after the other in either direction, and with Delete at the end. Four things are engines:
//
//   - [Embedded], a relay inside this process;
//   - [RTPProxy], a client of RTPProxy, or of an Embedded that [Control] serves elsewhere;
//   - [NG], a client of rtpengine;
//   - [Set] and [Sets], groups of any of these: weights, a stable choice for each call, failover, probing.
//
// Some can do more: see [Player], [Recorder] and [Prober]. Package rtprelaytest checks engines of your own against the contract.
//
//	relays := &rtprelay.Set{Members: []rtprelay.Member{
//		{Name: "fra1", Engine: &rtprelay.RTPProxy{Address: "udp:10.0.0.1:7722"}, Weight: 2},
//		{Name: "fra2", Engine: &rtprelay.NG{Address: "udp:10.0.0.2:2223"}},
//	}}
//	defer relays.Close()
//	call := rtprelay.Ref{CallID: "a84b4c76e66710@pc33", FromTag: "1928301774"}
//	offered, err := relays.Offer(ctx, rtprelay.Params{Ref: call, SDP: sdp, Source: source})
//	if err != nil {
//		return err // nothing has been rewritten: see below
//	}
//	// ... send offered.SDP on; when the answer comes:
//	call.ToTag, call.Node = "314159", offered.Node
//	answered, err := relays.Answer(ctx, rtprelay.Params{Ref: call, SDP: answer, Source: callee})
//	// ... send answered.SDP back; and at the BYE:
//	err = relays.Delete(ctx, call)
//
// # Errors
//
// A description comes back whole or not at all. [ErrUnavailable] (also as [BusyError] and [ReplyError]) is worth another engine;
// [RefusedError] and [ErrUnsupported] are not. [ErrAlreadyRelayed] and [ErrBadSDP] say that the description is to go on as it is. [ErrNoSession] is an answer
// without its offer.
//
// # Session descriptions
//
// [ParseSDP] and [Description.Rewrite] edit descriptions (RFC 8866) line by line: the addresses of c= and o=, the ports of m= and a=rtcp (RFC 3605),
// ICE lines (RFC 8839), and the marker a=nortpproxy:yes. Every other byte stays, however odd. Held streams (c=0.0.0.0, RFC 3264 section 8.4)
// keep their address, refused ones (port 0) everything. [SplitBody] finds the description in a multipart body (RFC 5621).
//
// # What to keep apart
//
// Branches of a fork have sessions of their own: give each its Ref.Leg. Ref.Node is to travel with the call, so that a restarted or a
// second proxy asks the same engine.
//
// # RFCs
//
// RFC 3264 (offer/answer), RFC 3605 (a=rtcp), RFC 4961 (symmetric RTP), RFC 5761 (rtcp-mux), RFC 7362 (latching), RFC 8866 (SDP).
package rtprelay
