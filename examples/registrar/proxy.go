package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/nat"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/auth"
	"github.com/sipkit/sipkit/sipproxy/middleware"
	"github.com/sipkit/sipkit/transport"
)

// A proxy is the parts that the command line asked for. routes.go puts them together.
type proxy struct {
	c      *config
	log    *slog.Logger
	server *sipproxy.Server

	flood       *middleware.RateLimit
	sanity      middleware.Sanity
	calls       *dialog.Tracker
	router      recordroute.Router
	registering *auth.Digest
	calling     *auth.Digest
	own         auth.Own
	registrar   *registrar.Registrar
	store       registrar.Store
	screen      *nat.Screen
	fix         *nat.Fix // nil: Contacts stay as they are
	pinger      *nat.Pinger
	relay       *rtprelay.Relay // nil: media go as they like
	engine      engine
	notified    []*rtprelay.Notifications

	users     *users // nil: no authentication
	trusted   *middleware.Prefixes
	numbers   atomic.Pointer[numbers]
	gateway   sip.URI
	voicemail sip.URI
	certs     *transport.Certificates
	service   []sip.URI
}

// build makes the proxy and opens what it needs, but no socket. The config has been validated.
func (c *config) build(out io.Writer) (p *proxy, err error) {
	p = &proxy{c: c, log: slog.New(slog.NewTextHandler(out, nil))}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if err := p.readFiles(); err != nil {
		return p, err
	}
	if p.store, err = c.openStore(p.log); err != nil {
		return p, err
	}
	p.assemble()
	return p, p.serve(out)
}

// readFiles reads what is in files and addresses.
func (p *proxy) readFiles() (err error) {
	c := p.c
	if c.gateway != "" {
		p.gateway, err = peer(c.gateway)
	}
	if err == nil && c.voicemail != "" {
		p.voicemail, err = mailServer(c.voicemail)
	}
	numbers := noNumbers(p.gateway)
	if err == nil && c.numbers != "" {
		numbers, err = readNumbers(c.numbers, c.domain(), p.gateway)
	}
	p.numbers.Store(numbers)
	if err == nil && c.users != "" {
		p.users, err = openUsers(c.users)
	}
	if err == nil {
		p.service, err = c.serviceRoutes()
	}
	if err == nil && c.cert != "" {
		p.certs = &transport.Certificates{CertFile: c.cert, KeyFile: c.key}
		err = p.certs.Reload()
	}
	return err
}

// assemble fills in the parts of the chain.
func (p *proxy) assemble() {
	c := p.c
	p.trusted = middleware.NewPrefixes(c.trusted...)
	p.flood = &middleware.RateLimit{Exempt: slices.Concat(loopback(), p.gateways(), c.trusted)}
	p.sanity = middleware.Sanity{Supported: "path, outbound, gruu"} // what the registrar below has
	p.screen = &nat.Screen{Names: true, Allow: slices.Concat(p.gateways(), p.mailServers(), c.trusted)}
	if c.alias {
		p.fix = &nat.Fix{Screen: p.screen}
	}
	p.pinger = &nat.Pinger{Contacts: p.natted, Gone: p.gone, Interval: c.keepalive}
	p.calls = &dialog.Tracker{OnEvent: account(p.log), Hangup: true}
	if p.relay = p.relayMedia(); p.relay != nil {
		p.calls.Media = p.relay.Media
	}
	p.router = recordroute.Router{
		Local: sipproxy.HandlerFunc(p.here), Foreign: recordroute.Strip,
		User: nat.User, Flow: nat.Flow, Params: p.routeParams,
	}
	p.registrar = &registrar.Registrar{Store: p.store, Domains: []string{c.domain()}, GRUU: true, Received: nat.Behind, TrustPath: p.trustPath}
	if len(c.domains) > 0 {
		p.registrar.Domains = c.domains
	}
	p.registrar.ServiceRoute, p.registrar.FlowTimer = p.service, c.flowTimer
	p.registering, p.calling = &auth.Digest{QOP: qops}, &auth.Digest{Proxy: true, QOP: qops}
	p.registering.Exempt = func(r *sipproxy.Request) bool {
		return r.Method != sip.REGISTER || p.users == nil || !p.asksForPassword(r)
	}
	p.calling.Exempt = func(r *sipproxy.Request) bool {
		return r.Method == sip.REGISTER || p.users == nil || !p.asksForPassword(r)
	}
	for _, d := range []*auth.Digest{p.registering, p.calling} {
		d.RealmOf, d.Trusted = p.realm, c.trusted
		if p.users != nil {
			d.Source = p.users
		}
	}
	p.own = auth.Own{Digest: p.calling}
}

// trustPath: the Path leads back to the edge proxy that sent the REGISTER, or was written by one of ours. It is no way round the screen.
func (p *proxy) trustPath(r *sipproxy.Request) bool {
	source := r.Source.AddrPort.Addr().Unmap()
	if p.trusted.Contains(source) {
		return true
	}
	for top, err := range r.NameAddrs("Path") {
		ip, _ := top.URI.IP()
		return err == nil && ip.Unmap() == source && !top.URI.Params.Has("maddr") // which leads elsewhere
	}
	return false
}

// serve makes the server.
func (p *proxy) serve(out io.Writer) error {
	c := p.c
	s := &sipproxy.Server{
		Listen: c.listens(),
		Names:  c.domains,
		Drain:  c.drain,
		Runner: runners[c.runner],
		Busy:   p.calls.Busy,

		ForceRport: true,
		NonSIP:     nat.STUN,
		Logger:     p.log,
	}
	p.server = s
	s.Accept = p.accept
	if j, ok := p.store.(*registrar.Journal); ok {
		// What a batch of REGISTERs changes is written at once, before their answers leave.
		s.BeforeSend = func() { _ = j.Flush(context.Background()) } // the journal logs what goes wrong
	}
	if p.certs != nil {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certs.GetCertificate, GetClientCertificate: p.certs.GetClientCertificate}
	}
	var err error
	if c.keys() != "" {
		s.Keys, err = readKeys(c.keys())
	}
	s.Handler = p.handler()
	if c.verbose {
		s.Handler = middleware.Log{}.Middleware(s.Handler)
	}
	c.tap(out, s)
	if c.users == "" && !c.onLoopback() {
		p.log.Warn("nobody is asked for a password: whoever reaches this server can register as anybody; see -users")
	}
	return err
}

// accept lets REGISTERs for us go without a transaction where their answers need no waiting: a flood of them leaves nothing behind (§26.3.2.4). Those
// with credentials have one, which the counts of nonces need.
func (p *proxy) accept(r *sipproxy.Request) sipproxy.Mode {
	if p.users != nil && r.Has("Authorization") || !p.forUs(&r.URI) {
		return sipproxy.Stateful
	}
	return p.registrar.Accept(r)
}

// contacts writes aliases into the Contacts of phones behind NAT and reads them, with -contact-alias.
func (p *proxy) contacts(next sipproxy.Handler) sipproxy.Handler {
	if p.fix == nil {
		return next
	}
	return p.fix.Middleware(next)
}

// media sends media through the relay, if there is one.
func (p *proxy) media(next sipproxy.Handler) sipproxy.Handler {
	if p.relay == nil {
		return next
	}
	return p.relay.Middleware(next)
}

// routeParams are what our Record-Route remembers of a call.
func (p *proxy) routeParams(b *sipproxy.Branch) sip.Params {
	if p.relay == nil {
		return nat.Params(b)
	}
	return nat.Params(b) + p.relay.Params(b)
}

// Close frees what build opened.
func (p *proxy) Close() (err error) {
	for _, n := range p.notified {
		err = errors.Join(err, n.Close())
	}
	if p.engine != nil {
		err = errors.Join(err, p.engine.Close())
	}
	if p.store != nil {
		err = errors.Join(err, p.store.Close())
	}
	return err
}

// mailServer reads -voicemail.
func mailServer(s string) (sip.URI, error) {
	if strings.HasPrefix(s, "sip:") || strings.HasPrefix(s, "sips:") {
		return sip.ParseURI(s)
	}
	return peer(s)
}

// gateways are the gateways that are addresses: all calls of the telephone network come from there.
func (p *proxy) gateways() (list []netip.Prefix) {
	rules := p.numbers.Load().rules
	for i := range rules {
		list = appendHost(list, rules[i].gateway)
	}
	return list
}

func (p *proxy) mailServers() []netip.Prefix { return appendHost(nil, p.voicemail) }

func appendHost(list []netip.Prefix, u sip.URI) []netip.Prefix {
	if a, ok := u.IP(); ok {
		return append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	if strings.EqualFold(u.Host, "localhost") {
		return append(list, loopback()...)
	}
	return list
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// onLoopback: nobody but this machine reaches the server.
func (c *config) onLoopback() bool {
	for _, spec := range c.listen {
		a, _, err := transport.ParseListen(spec)
		if err != nil || !a.AddrPort.Addr().IsLoopback() {
			return false
		}
	}
	return len(c.listen) > 0
}

// qops: qop=auth is offered; phones from before RFC 3261 answer without any (§22.4), and use a nonce up each time.
const qops = auth.QOPAuth | auth.QOPNone

const ringBeforeVoicemail = 30 * time.Second
