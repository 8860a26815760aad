package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/nat"
	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// An engine is what -rtpproxy and -rtpengine ask for, or the relay in this process.
type engine interface {
	rtprelay.Engine
	io.Closer
}

// engine makes the engine; onTimeout is told of calls whose media have stopped, where the relay is our own.
func (c *config) engine(onTimeout func(rtprelay.Ref)) engine {
	if c.relay != nil {
		return c.relay
	}
	var members []rtprelay.Member
	for _, a := range c.rtpproxy {
		members = append(members, rtprelay.Member{Name: a, Engine: &rtprelay.RTPProxy{Address: a, Notify: c.notifySocket()}})
	}
	for _, a := range c.rtpengine {
		members = append(members, rtprelay.Member{Name: a, Engine: &rtprelay.NG{Address: a}})
	}
	if members != nil {
		return &rtprelay.Set{Members: members}
	}
	return &rtprelay.Embedded{Interfaces: c.mediaInterfaces(), RecordDir: c.record, Timeout: c.silence, OneSided: c.oneSided, OnTimeout: onTimeout}
}

// mediaInterfaces are the addresses of -listen, for the relay in this process; none when it listens on every address: that of the default route.
func (c *config) mediaInterfaces() (list []rtprelay.Interface) {
	for _, spec := range c.listen {
		a, advertised, err := transport.ParseListen(spec)
		ip := a.AddrPort.Addr()
		if err != nil || ip.IsUnspecified() || slices.ContainsFunc(list, func(i rtprelay.Interface) bool { return i.Addr == ip }) {
			continue
		}
		list = append(list, rtprelay.Interface{Name: ip.String(), Addr: ip, Advertise: advertisedIP(advertised)})
	}
	return list
}

// bothFamilies: phones with IPv4 and phones with IPv6 can call each other here.
func (c *config) bothFamilies() bool {
	var four, six bool
	for _, spec := range c.listen {
		a, _, err := transport.ParseListen(spec)
		ip := a.AddrPort.Addr().Unmap()
		four, six = four || err == nil && ip.Is4(), six || err == nil && ip.Is6()
	}
	return four && six
}

// advertisedIP is the address of an advertised sent-by; invalid for a name.
func advertisedIP(sentBy string) netip.Addr {
	if at, err := netip.ParseAddrPort(sentBy); err == nil {
		return at.Addr()
	}
	ip, _ := netip.ParseAddr(sentBy)
	return ip
}

// relayMedia makes the relay of -media; nil for never.
func (p *proxy) relayMedia() *rtprelay.Relay {
	c := p.c
	if c.media == "never" {
		return nil
	}
	rl := &rtprelay.Relay{MusicOnHold: c.moh, OnTimeout: p.silent, Pass: c.failure == "pass", OnFailure: p.unrelayed, Bridge: c.bothFamilies()}
	p.engine = c.engine(rl.TimedOut)
	rl.Engine = p.engine
	if c.media == "nat" {
		rl.When, rl.WhenBranch = nat.Behind, callsBehindNAT
		if rl.Bridge {
			rl.WhenBranch = func(b *sipproxy.Branch) bool { return callsBehindNAT(b) || otherFamily(b) }
		}
	}
	if c.record != "" {
		rl.Record = func(*sipproxy.Request) bool { return true }
	}
	return rl
}

// notifySocket is where RTPProxies tell of time-outs; "": nowhere.
func (c *config) notifySocket() string {
	for _, s := range c.notify {
		kind, where, _ := strings.Cut(s, ":")
		if kind == "http" {
			continue
		}
		if host, port, err := net.SplitHostPort(where); kind == "tcp" && err == nil {
			if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
				return "tcp:%%CC_SELF%%:" + port // the address that it knows us by
			}
		}
		return s
	}
	return ""
}

// hearTimeouts opens the sockets of -media-notify.
func (p *proxy) hearTimeouts() error {
	if p.relay == nil {
		return nil
	}
	for _, s := range p.c.notify {
		n := &rtprelay.Notifications{Listen: s, OnTimeout: p.relay.StreamTimedOut}
		if strings.HasPrefix(s, "http:") {
			n.OnTimeout = p.relay.TimedOut
		}
		if err := n.Start(); err != nil {
			return prefixed("-media-notify", err)
		}
		p.notified = append(p.notified, n)
	}
	return nil
}

// silent ends a call whose media have stopped, with BYE to both sides.
func (p *proxy) silent(r rtprelay.Ref) {
	if r.ToTag == "" {
		return // to End that is a call that rings, which may well be silent
	}
	go p.end(r, "no media")
}

// unrelayed is told of a description that no relay took. A new call, or a change of one, was refused or passed, as -media-failure says; what is past refusing is an answer:
// each side would send where the other does not listen.
func (p *proxy) unrelayed(r rtprelay.Ref, err error) {
	p.log.Warn("no relay took the media", "call-id", r.CallID, "error", err)
	if r.ToTag != "" && p.c.failure != "pass" {
		go p.end(r, "no media relay")
	}
}

// end ends a call, and waits until both sides have answered.
func (p *proxy) end(r rtprelay.Ref, reason string) {
	err := p.calls.End(context.Background(), dialog.ID{CallID: r.CallID, CallerTag: r.FromTag, CalleeTag: r.ToTag}, reason)
	if err != nil && !errors.Is(err, dialog.ErrUnknown) {
		p.log.Warn("a call without media has ended, and one side could not be told", "call-id", r.CallID, "error", err)
	}
}

// callsBehindNAT: the callee registered an address that is not where it is reached.
func callsBehindNAT(b *sipproxy.Branch) bool {
	at := reachedAt(b)
	ip, ok := b.Target.URI.IP()
	return ok && at.IsValid() && ip.Unmap() != at
}

// otherFamily: one party has IPv4 and the other IPv6.
func otherFamily(b *sipproxy.Branch) bool {
	at := reachedAt(b)
	if !at.IsValid() {
		ip, _ := b.Target.URI.IP()
		at = ip.Unmap()
	}
	return at.IsValid() && at.Is4() != b.Of.Source.AddrPort.Addr().Unmap().Is4()
}

// reachedAt is where a branch goes when the registration says so.
func reachedAt(b *sipproxy.Branch) netip.Addr {
	if !b.Target.Flow.IsZero() {
		return b.Target.Flow.Remote().AddrPort.Addr().Unmap()
	}
	return b.Target.Next.AddrPort.Addr().Unmap()
}
