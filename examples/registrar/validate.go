package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sipkit/sipkit/registrar/redisstore"
	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// validate reports every mistake in flags and files at once, and changes nothing but defaults. The server may be running meanwhile.
func (c *config) validate() error {
	if c.ring == 0 && c.voicemail != "" {
		c.ring = ringBeforeVoicemail
	}
	return errors.Join(
		c.validateServer(),
		c.validateStore(),
		c.validateCalls(),
		c.validateRegistrations(),
		c.validateMedia(),
		oneOf("-redirects", c.redirects, "follow", "refuse", "pass"),
		oneOf("-runner", c.runner, "", "coroutine", "goroutine"),
	)
}

func (c *config) validateServer() error {
	s := &sipproxy.Server{Listen: c.listens(), Names: c.domains, Handler: sipproxy.Chain{}.ThenFunc(nil), TLS: &tls.Config{}}
	errs := []error{s.Check()}
	secure := false
	for _, spec := range c.listens() {
		a, _, err := transport.ParseListen(spec)
		secure = secure || err == nil && a.Proto.Secure()
	}
	switch {
	case (c.cert == "") != (c.key == ""):
		errs = append(errs, errors.New("-cert and -key belong together"))
	case c.cert != "":
		_, err := tls.LoadX509KeyPair(c.cert, c.key)
		errs = append(errs, prefixed("-cert", err))
	}
	switch {
	case secure && c.cert == "":
		errs = append(errs, errors.New("-listen tls: needs -cert and -key"))
	case !secure && c.cert != "":
		errs = append(errs, errors.New("-cert: no -listen tls: address uses it"))
	}
	return errors.Join(errs...)
}

func (c *config) validateStore() error {
	var errs []error
	switch {
	case redisURL(c.store):
		_, err := redisstore.ParseURL(c.store)
		errs = append(errs, prefixed("-store", err))
	case c.store == "journal":
		if c.data == "" {
			errs = append(errs, errors.New("-data names no directory"))
		}
	case c.store != "memory":
		errs = append(errs, fmt.Errorf("-store %q is none of memory, journal, redis://...", c.store))
	}
	if s, err := os.Stat(c.data); c.store != "memory" && err == nil && !s.IsDir() {
		errs = append(errs, fmt.Errorf("-data %s is not a directory", c.data))
	}
	if file := c.keys(); file != "" && exists(file) {
		_, err := readKeys(file)
		errs = append(errs, prefixed("-key-file", err))
	}
	return errors.Join(errs...)
}

func (c *config) validateCalls() error {
	var errs []error
	var gateway sip.URI
	if c.gateway != "" {
		var err error
		gateway, err = peer(c.gateway)
		errs = append(errs, prefixed("-gateway", err))
	}
	if c.voicemail != "" {
		_, err := mailServer(c.voicemail)
		errs = append(errs, prefixed("-voicemail", err))
	}
	if c.numbers != "" {
		_, err := readNumbers(c.numbers, c.domain(), gateway)
		errs = append(errs, prefixed("-numbers", err))
	}
	if c.users != "" {
		_, err := openUsers(c.users)
		errs = append(errs, prefixed("-users", err))
	}
	if c.ring < 0 {
		errs = append(errs, fmt.Errorf("-ring %s is negative", c.ring))
	}
	return errors.Join(errs...)
}

func (c *config) validateMedia() error {
	errs := []error{oneOf("-media", c.media, "always", "nat", "never"), oneOf("-media-failure", c.failure, "refuse", "pass")}
	if e, ok := c.engine(nil).(interface{ Check() error }); ok {
		errs = append(errs, prefixed("media relay", e.Check()))
	}
	for _, a := range slices.Concat(c.rtpproxy, c.rtpengine) {
		if _, address, ok := strings.Cut(a, ":"); !ok || address == "" {
			errs = append(errs, fmt.Errorf("relay %q is not transport:address, as in udp:127.0.0.1:7722", a))
		}
	}
	for _, s := range c.notify {
		errs = append(errs, prefixed("-media-notify", (&rtprelay.Notifications{Listen: s}).Check()))
	}
	if c.notify != nil && c.rtpproxy == nil && c.rtpengine == nil {
		errs = append(errs, errors.New("-media-notify is for -rtpproxy and -rtpengine"))
	}
	if c.moh != "" && c.rtpproxy == nil && c.rtpengine == nil { // else it lies on the relay's disk
		if played, _ := filepath.Glob(c.moh + "*"); played == nil {
			errs = append(errs, fmt.Errorf("-moh %s: no such file", c.moh))
		}
	}
	if s, err := os.Stat(c.record); c.record != "" && (err != nil || !s.IsDir()) {
		errs = append(errs, fmt.Errorf("-record %s is not a directory", c.record))
	}
	if c.silence < 0 {
		errs = append(errs, fmt.Errorf("-media-timeout %s is negative", c.silence))
	}
	switch {
	case c.oneSided < 0:
		errs = append(errs, fmt.Errorf("-media-one-sided %s is negative", c.oneSided))
	case c.oneSided > 0 && (c.rtpproxy != nil || c.rtpengine != nil):
		errs = append(errs, errors.New("-media-one-sided is for the relay in this process: others have such an option of their own"))
	}
	return errors.Join(errs...)
}

// longestFlowTimer: transports close what was silent for so long.
const longestFlowTimer = 3 * time.Minute

func (c *config) validateRegistrations() error {
	_, err := c.serviceRoutes()
	errs := []error{err}
	if c.keepalive < 0 {
		errs = append(errs, fmt.Errorf("-keepalive %s is negative", c.keepalive))
	}
	switch {
	case c.flowTimer < 0:
		errs = append(errs, fmt.Errorf("-flow-timer %s is negative", c.flowTimer))
	case c.flowTimer%time.Second != 0:
		errs = append(errs, fmt.Errorf("-flow-timer %s: Flow-Timer counts whole seconds", c.flowTimer))
	case c.flowTimer >= longestFlowTimer:
		errs = append(errs, fmt.Errorf("-flow-timer %s: connections are closed after %s without traffic", c.flowTimer, longestFlowTimer))
	}
	return errors.Join(errs...)
}

// serviceRoutes reads -service-route. The error names every one that is no loose route (RFC 3608 §6.1).
func (c *config) serviceRoutes() (list []sip.URI, err error) {
	var errs []error
	for _, s := range c.serviceRoute {
		text := strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")
		u, err := sip.ParseURI(text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("-service-route %q: %w", s, err))
		case !u.IsSIP() || u.Host == "" || u.Headers != "":
			errs = append(errs, fmt.Errorf("-service-route %q is no SIP URI to be routed by", s))
		case !u.Params.Has("lr"):
			errs = append(errs, fmt.Errorf("-service-route %q has no ;lr", s))
		default:
			list = append(list, u)
		}
	}
	return list, errors.Join(errs...)
}

func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s %q is none of %q", flag, value, allowed)
}

func prefixed(flag string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", flag, err)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
