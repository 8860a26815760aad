// Package registrar answers REGISTER and finds where users are: the bindings of addresses-of-record (RFC 3261 §10) and the stores they live in.
//
// # Registrar
//
// A Registrar is a handler for REGISTER: add, refresh, remove, query, all or nothing, by §10.3; Path (RFC 3327), Service-Route (RFC 3608), the flows of
// outbound phones (RFC 5626), public and temporary GRUUs (RFC 5627). Its Lookup turns a Request-URI into targets to forward to, Redirect into a 302.
// It does not authenticate: package sipproxy/auth does, before it. Aliases and SpeedDials are further names of users.
//
// A registrar and proxy for the users of a domain, whose bindings survive kill -9:
//
//	package main
//
//	import (
//		"context"
//		"log"
//
//		"github.com/sipkit/sipkit/recordroute"
//		"github.com/sipkit/sipkit/registrar"
//		"github.com/sipkit/sipkit/sip"
//		"github.com/sipkit/sipkit/sipproxy"
//	)
//
//	func main() {
//		store, err := registrar.OpenJournal("sipkit-data", registrar.JournalConfig{})
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer store.Close()
//		reg := &registrar.Registrar{Store: store, Domains: []string{"example.com"}}
//		find := func(ctx context.Context, r *sipproxy.Request) *sip.Response {
//			if r.Method == sip.REGISTER {
//				return reg.ServeSIP(ctx, r)
//			}
//			targets, res := reg.Lookup(ctx, r, r.URI)
//			if res != nil {
//				return res // 404, 405, 480, 503
//			}
//			return r.ForwardInTurn(ctx, targets...)
//		}
//		server := &sipproxy.Server{
//			Names:   []string{"example.com"},
//			Accept:  reg.Accept,
//			Handler: sipproxy.Chain{recordroute.Router{Local: sipproxy.HandlerFunc(find)}.Middleware}.ThenFunc(find),
//		}
//		log.Fatal(server.Run(context.Background()))
//	}
//
// recordroute.Router.Local is there for GRUUs: what a peer sends within a dialog to the GRUU of a phone is looked up like the INVITE was.
//
// # Stores
//
// A Store changes the bindings of one address-of-record atomically, looks them up, scans all, and tells changes. Three come with the
// library; package registrartest checks any other.
//
//   - Memory lives and dies with the process. About 400 bytes a binding at a million of them.
//   - Journal is Memory whose changes are appended to a file: a restart finds them again. Write, its default, survives kill -9, Sync the loss of
//     power, Async loses the last moments. A full disk degrades it to memory, with an alarm.
//   - redisstore.Store keeps them in Redis for several nodes.
//
// Bindings expire by their own time: no store returns an expired one, and memory is freed by one timing wheel. RFC 5626 instances and flows, RFC 3327
// paths and RFC 5627 GRUUs are fields of a Binding; stores do not interpret them.
//
// Many REGISTERs a second share one write of a journal when it gathers and the server flushes it before answers leave:
//
//	store, err := registrar.OpenJournal("sipkit-data", registrar.JournalConfig{Gather: true})
//	server.BeforeSend = func() { _ = store.Flush(context.Background()) }
package registrar
