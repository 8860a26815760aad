package rtprelay

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// NGOptions are what an NG is asked beyond Options. The daemon ignores words that it does not know, so all are checked here: an unknown one is
// a RefusedError. The zero value asks for nothing.
type NGOptions struct {
	// Flags: asymmetric, symmetric, unidirectional, strict-source, media-handover, port-latching, loop-protect, no-rtcp-attribute,
	// full-rtcp-attribute, record-call, always-transcode, trickle-ICE, generate-mid, original-sendrecv, inject-DTMF, block-DTMF, reset,
	// pad-crypto, allow-transcoding, single-codec, reuse-codecs, no-port-latching, debug, ...: see ngFlags
	Flags []string
	// Replace: origin, session-connection (both sent unless Options.KeepOrigin), SDP-version, username, session-name, zero-address
	Replace []string

	ICE       string   // remove, force, force-relay, optional, default; "": as Options.ICE says, ICEKeep being default
	ICELite   string   // forward, backward, both, off
	Transport string   // RTP/AVP, RTP/SAVP, RTP/AVPF, RTP/SAVPF, UDP/TLS/RTP/SAVP, UDP/TLS/RTP/SAVPF, and OSRTP variants accept, offer
	DTLS      string   // off, passive, active
	SDES      []string // off, on, unencrypted_srtp, pad, nonew, no-SUITE, only-SUITE ...
	RTCPMux   []string // offer, require, demux, accept, reject
	T38       []string // decode, force, stop, no-ECM, no-V.17 ...
	Codec     NGCodec

	PTime, PTimeReverse time.Duration // packet length towards the other party; and back
	TOS                 int           // 1 to 255; 0: the daemon's
	Metadata            string        // kept with a recording
	RecordCall          bool
	ViaBranch           string
	Label               string
	DeleteDelay         time.Duration // of Delete; 0: the daemon's own; negative: none
}

// NGCodec changes the list of codecs. Names are as in a=rtpmap, "all" and "full" are understood.
type NGCodec struct {
	Strip, Offer, Mask, Set, Transcode, Except, Accept, Consume, Ignore []string
}

var (
	ngFlags = []string{
		"trust-address", "SIP-source-address", "asymmetric", "symmetric", "unidirectional", "strict-source", "media-handover", "port-latching", "no-port-latching",
		"loop-protect", "no-rtcp-attribute", "full-rtcp-attribute", "record-call", "always-transcode", "allow-transcoding", "asymmetric-codecs", "symmetric-codecs",
		"reorder-codecs", "single-codec", "reuse-codecs", "no-codec-renegotiation", "trickle-ICE", "no-trickle-ICE", "reject-ICE", "generate-mid", "generate-RTCP",
		"original-sendrecv", "inject-DTMF", "inject-DTMF-no", "detect-DTMF", "block-DTMF", "block-media", "silence-media", "reset", "pad-crypto", "early-media",
		"all", "fragment", "pierce-NAT", "no-jitter-buffer", "debug", "static-codecs", "webrtc", "SDES-off", "discard-recording", "exclude-recording",
	}
	ngReplace   = []string{"origin", "origin-full", "session-connection", "SDP-version", "sdp-version", "username", "session-name", "zero-address", "force-increment-sdp-ver"}
	ngICE       = []string{"remove", "force", "force-relay", "force_relay", "optional", "default"}
	ngICELite   = []string{"forward", "offer", "backward", "answer", "both", "off", "none", "no"}
	ngTransport = []string{"RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "OSRTP", "accept", "offer"}
	ngDTLS      = []string{"off", "no", "disable", "passive", "active"}
	ngMux       = []string{"offer", "require", "demux", "accept", "reject"}
	ngT38       = []string{"decode", "force", "stop", "no-ECM", "no-V.17", "no-V.27ter", "no-V.29", "no-V.34", "no-IAF", "FEC"}
	ngSDES      = []string{"off", "no", "disable", "on", "unencrypted_srtp", "unencrypted_srtcp", "unauthenticated_srtp", "encrypted_srtp", "encrypted_srtcp",
		"authenticated_srtp", "pad", "lifetime", "static", "nonew"}
	ngSuites = []string{"AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32",
		"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "F8_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32"}
)

// Check refuses what the daemon would ignore.
func (o *NGOptions) Check() error {
	for _, c := range []struct {
		what    string
		words   []string
		allowed []string
	}{
		{"flag", o.Flags, ngFlags}, {"replace", o.Replace, ngReplace}, {"ICE", one(o.ICE), ngICE}, {"ICE lite", one(o.ICELite), ngICELite},
		{"transport", one(o.Transport), ngTransport}, {"DTLS", one(o.DTLS), ngDTLS}, {"rtcp-mux", o.RTCPMux, ngMux}, {"T.38", o.T38, ngT38}, {"SDES", suitesOff(o.SDES), ngSDES},
	} {
		for _, w := range c.words {
			if !slices.Contains(c.allowed, w) {
				return &RefusedError{Code: "input", Reason: c.what + " " + strconv.Quote(w)}
			}
		}
	}
	switch {
	case o.TOS < 0 || o.TOS > 255:
		return &RefusedError{Code: "input", Reason: "TOS"}
	case !ptime(o.PTime) || !ptime(o.PTimeReverse):
		return &RefusedError{Code: "input", Reason: "ptime"}
	}
	return nil
}

func ptime(d time.Duration) bool { return d >= 0 && d < time.Second && d%time.Millisecond == 0 }

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// suitesOff leaves out the words that name a known crypto suite.
func suitesOff(words []string) []string {
	var rest []string
	for _, w := range words {
		for _, prefix := range []string{"no-", "only-"} {
			if len(w) > len(prefix) && w[:len(prefix)] == prefix && slices.Contains(ngSuites, w[len(prefix):]) {
				w = ""
				break
			}
		}
		if w != "" {
			rest = append(rest, w)
		}
	}
	return rest
}

// write adds the options of an offer or answer; p's common ones have the last word.
func (o *NGOptions) write(d *bdict, p *Params, held bool) {
	c := &p.Options
	flags := slices.Clone(o.Flags)
	if c.Asymmetric {
		flags = append(flags, "asymmetric")
	}
	source := p.Source.Unmap().WithZone("")
	if source.IsValid() && !c.TrustSDP && !c.Asymmetric && !held {
		flags = append(flags, "SIP-source-address")
		d.texts("received-from", []string{familyOf(source), source.String()})
	} else {
		flags = append(flags, "trust-address")
	}
	d.texts("flags", flags)
	replace := slices.Clone(o.Replace)
	if !c.KeepOrigin {
		replace = append(replace, "origin", "session-connection")
	}
	slices.Sort(replace)
	d.texts("replace", slices.Compact(replace))
	ice := o.ICE
	if ice == "" {
		ice = "remove"
		if c.ICE == ICEKeep {
			ice = "default"
		}
	}
	d.text("ICE", ice)
	d.text("ICE-lite", o.ICELite)
	if c.From != "" || c.To != "" {
		d.texts("direction", []string{c.From, c.To})
	}
	if c.IPv6 != nil {
		d.text("address-family", map[bool]string{false: "IP4", true: "IP6"}[*c.IPv6])
	}
	if c.Address.IsValid() {
		d.text("media-address", c.Address.String())
	}
	d.text("transport-protocol", o.Transport)
	d.text("DTLS", o.DTLS)
	d.texts("SDES", o.SDES)
	d.texts("rtcp-mux", o.RTCPMux)
	d.texts("T.38", o.T38)
	o.Codec.write(d)
	if t := max(o.PTime, c.Repacketize); t > 0 {
		d.number("ptime", int(t/time.Millisecond))
	}
	if o.PTimeReverse > 0 {
		d.number("ptime-reverse", int(o.PTimeReverse/time.Millisecond))
	}
	if o.TOS > 0 {
		d.number("TOS", o.TOS)
	}
	d.text("metadata", o.Metadata)
	if o.RecordCall {
		d.text("record call", "yes")
	}
	d.text("via-branch", o.ViaBranch)
	d.text("label", o.Label)
}

func (c *NGCodec) write(d *bdict) {
	parts := []struct {
		key   string
		names []string
	}{{"strip", c.Strip}, {"offer", c.Offer}, {"mask", c.Mask}, {"set", c.Set}, {"transcode", c.Transcode}, {"except", c.Except}, {"accept", c.Accept}, {"consume", c.Consume}, {"ignore", c.Ignore}}
	opened := false
	for _, p := range parts {
		if len(p.names) > 0 && !opened {
			d.open("codec")
			opened = true
		}
		d.texts(p.key, p.names)
	}
	if opened {
		d.close()
	}
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "IP4"
	}
	return "IP6"
}
