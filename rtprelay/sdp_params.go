package rtprelay

import (
	"fmt"
	"net/netip"
)

// description parses the SDP and honours the marker.
func (p *Params) description() (*Description, error) {
	d, err := ParseSDP(p.SDP)
	if err != nil {
		return nil, err
	}
	if d.Marked && !p.Options.Force {
		return nil, ErrAlreadyRelayed
	}
	return d, nil
}

// remote is where the party expects media of m, as far as it is known before its first packet: the address of the description
// if that is to be trusted, else the one the SIP message came from.
func (p *Params) remote(m *Media) (netip.AddrPort, error) {
	addr := m.Addr.Unmap()
	trusted := p.Options.Asymmetric || (p.Options.TrustSDP && addr.IsValid() && !addr.IsUnspecified())
	if !trusted && p.Source.IsValid() {
		addr = p.Source.Unmap().WithZone("")
	}
	if !addr.IsValid() {
		return netip.AddrPort{}, fmt.Errorf("%w: no literal address for %s", ErrBadSDP, m.Type)
	}
	return netip.AddrPortFrom(addr, m.Port), nil
}

// result writes the new description.
func (p *Params) result(d *Description, streams []Stream) Result {
	n := 0
	for i := range streams {
		if streams[i].Port == 0 {
			continue
		}
		n++
		if p.Options.Address.IsValid() {
			streams[i].Addr = p.Options.Address
		}
	}
	if n == 0 {
		return Result{SDP: p.SDP}
	}
	e := Edit{KeepOrigin: p.Options.KeepOrigin, ICE: p.Options.ICE, Mark: !p.Options.NoMark}
	return Result{SDP: d.Rewrite(streams, e), Streams: n}
}
