package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/middleware"
)

// config is what the command line says. Tests fill it themselves.
type config struct {
	listen  []string
	domains []string

	data    string
	store   string
	keyFile string

	users   string
	trusted []netip.Prefix
	numbers string

	voicemail string
	gateway   string
	ring      time.Duration
	redirects string

	keepalive time.Duration
	alias     bool

	serviceRoute []string
	flowTimer    time.Duration

	media     string
	rtpproxy  []string
	rtpengine []string
	notify    []string
	silence   time.Duration
	oneSided  time.Duration
	failure   string
	moh       string
	record    string

	cert, key string

	drain     time.Duration
	trace     bool
	verbose   bool
	checkOnly bool
	runner    string
	profile   string

	relay engine           // in place of what media flags say
	local sipproxy.Handler // requests in a dialog with this server itself, presence for instance; nil: 404
}

// parse reads the command line; the error names everything in it that cannot be read. What the flags mean is checked by validate.
func parse(args []string) (config, error) {
	c := config{}
	var trusted string
	f := flag.NewFlagSet("registrar", flag.ContinueOnError)
	many := func(list *[]string, name, usage string) {
		f.Func(name, usage, func(s string) error {
			*list = append(*list, s)
			return nil
		})
	}
	many(&c.listen, "listen", "`transport:address:port`, as in udp:192.0.2.10:5060, or with the address to tell others udp:10.0.0.5:5060=203.0.113.5:5060; may be repeated (default udp and tcp on port 5060 of every address, with -cert tls on 5061)")
	many(&c.domains, "domain", "a `domain` whose users register here; may be repeated (default: every address it listens on)")
	f.StringVar(&c.data, "data", "sipkit-data", "`directory` of the journal and the keys")
	f.StringVar(&c.store, "store", "journal", "where registrations are kept: memory, journal (survives kill -9) or redis://host:port/0")
	f.StringVar(&c.keyFile, "key-file", "", "secrets that outlive a restart and that nodes share: a `file` of hexadecimal lines, current and previous; made when absent (default DATA/keys)")
	f.StringVar(&c.users, "users", "", "`file` of lines user:realm:HA1-md5[:HA1-sha256[:HA1-sha512-256]], htdigest's included (default: no authentication)")
	f.StringVar(&trusted, "trusted", "", "`networks` that need no authentication and may call everything")
	f.StringVar(&c.numbers, "numbers", "", "`file` of aliases, speed dials and prefix rules")
	f.StringVar(&c.voicemail, "voicemail", "", "where calls go that nobody takes: `host:port` (the user stays) or a SIP URI")
	f.StringVar(&c.gateway, "gateway", "", "`host:port` of the gateway to the telephone network: numbers that start with + or 00")
	f.DurationVar(&c.ring, "ring", 0, "how long phones ring before voicemail (default 30s with -voicemail, else 3 min)")
	f.StringVar(&c.redirects, "redirects", "follow", "what becomes of a 3xx of a phone: follow it to users of ours, refuse it with 480, or pass it on")
	f.DurationVar(&c.keepalive, "keepalive", 0, "how often phones behind NAT get an OPTIONS; those that do not answer three are removed (default 30s)")
	many(&c.serviceRoute, "service-route", "`SIP URI`, with ;lr, by which phones are to send what they ask for (RFC 3608), in the 200 to every REGISTER: an edge proxy, or this server; may be repeated, the first is the nearest to the phone")
	f.DurationVar(&c.flowTimer, "flow-timer", 0, "the longest that phones with RFC 5626 outbound may leave their connection without a keepalive, in whole seconds below 3m (default: they decide)")
	f.BoolVar(&c.alias, "contact-alias", false, "write Kamailio's alias= into the Contacts of phones behind NAT and follow it: for farms that have Kamailio nodes, too")
	f.StringVar(&c.media, "media", "nat", "relay media always, for calls that a nat is in, or never")
	many(&c.rtpproxy, "rtpproxy", "`control socket` of an RTPProxy, as in udp:127.0.0.1:7722; may be repeated (default: a relay in this process)")
	many(&c.rtpengine, "rtpengine", "ng `control socket` of an rtpengine, as in udp:127.0.0.1:2223; may be repeated")
	many(&c.notify, "media-notify", "`socket` where relays tell that the media of a call have stopped, which then ends with BYE to both: unix:/path or tcp:host:port for an RTPProxy whose -n names the same, http:host:port for an rtpengine with --b2b-url=http://host:port/ --xmlrpc-format=2; may be repeated")
	f.DurationVar(&c.silence, "media-timeout", 0, "the relay in this process ends a call, with BYE to both, when it hears neither party for so long (default 1m)")
	f.DurationVar(&c.oneSided, "media-one-sided", 0, "the relay in this process ends a call, with BYE to both, when one party that should be sending, and is not on hold, is silent for so long (default: never)")
	f.StringVar(&c.failure, "media-failure", "refuse", "what becomes of calls whose media no relay takes: refuse them with 503, and end them when they are answered by then, or pass their descriptions on unchanged")
	f.StringVar(&c.moh, "moh", "", "`file` that the relay plays to a party on hold")
	f.StringVar(&c.record, "record", "", "`directory` where the relay records calls")
	f.StringVar(&c.cert, "cert", "", "certificate chain for tls, a PEM `file`")
	f.StringVar(&c.key, "key", "", "its key, a PEM `file`")
	f.DurationVar(&c.drain, "drain", 0, "bound on the wait for requests in progress at SIGTERM (default 32s)")
	f.BoolVar(&c.trace, "trace", false, "print every message")
	f.BoolVar(&c.verbose, "v", false, "log a line a request")
	f.BoolVar(&c.checkOnly, "check", false, "report every mistake in flags and files, and exit")
	f.StringVar(&c.runner, "runner", "", "for development: coroutine or goroutine")
	f.StringVar(&c.profile, "cpuprofile", "", "for development: write a CPU profile to this `file`")
	unread := parseAll(f, args)
	var err error
	c.trusted, err = middleware.ParsePrefixes(trusted)
	return c, errors.Join(unread, prefixed("-trusted", err))
}

// parseAll goes on behind a mistake, where FlagSet.Parse stops, and says nothing but in its error.
func parseAll(f *flag.FlagSet, args []string) error {
	f.SetOutput(io.Discard)
	var errs []error
	for len(args) > 0 {
		err := f.Parse(args)
		args = f.Args()
		switch {
		case errors.Is(err, flag.ErrHelp):
			f.SetOutput(os.Stderr)
			f.Usage()
			return err
		case err == nil && len(args) > 0:
			err = fmt.Errorf("unexpected argument %q", args[0])
			args = args[1:]
		case err != nil && len(args) > 0 && !strings.HasPrefix(args[0], "-"):
			args = args[1:] // the value of a flag that does not exist
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var runners = map[string]sipproxy.RunnerMode{
	"": sipproxy.RunnerDefault, "goroutine": sipproxy.Goroutines, "coroutine": sipproxy.Coroutines,
}

// domain is where names without one belong.
func (c *config) domain() string {
	if len(c.domains) > 0 {
		return c.domains[0]
	}
	return "localhost"
}

// keys is the file of secrets; "": they die with the process.
func (c *config) keys() string {
	if c.keyFile != "" || c.store == "memory" {
		return c.keyFile
	}
	return filepath.Join(c.data, "keys")
}

// listens are the listen addresses: those of the server, written out where TLS adds to them.
func (c *config) listens() []string {
	if len(c.listen) > 0 || c.cert == "" {
		return c.listen
	}
	list := []string{"udp:0.0.0.0:5060", "tcp:0.0.0.0:5060", "tls:0.0.0.0:5061"}
	probe, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil { // no IPv6 on this machine
		return list
	}
	_ = probe.Close()
	return append(list, "udp:[::]:5060", "tcp:[::]:5060", "tls:[::]:5061")
}

// tap is what -trace adds.
func (c *config) tap(out io.Writer, s *sipproxy.Server) {
	if c.trace {
		s.Tap = middleware.Trace(out)
	}
}
