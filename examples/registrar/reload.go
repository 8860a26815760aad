package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// reloadOnHangup reads files again at SIGHUP, until ctx ends.
func (p *proxy) reloadOnHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			p.tell("RELOADING=1")
			if err := p.reload(); err != nil {
				p.log.Error("reloaded in part: what has a mistake stays as it was", "error", err)
			} else {
				p.log.Info("reloaded")
			}
			p.tell("READY=1")
		}
	}
}

// reload reads users, numbers and certificates again. A file with a mistake changes nothing of its kind.
func (p *proxy) reload() error {
	var errs []error
	if p.users != nil {
		errs = append(errs, p.users.reload())
	}
	if p.c.numbers != "" {
		n, err := readNumbers(p.c.numbers, p.c.domain(), p.gateway)
		if err == nil {
			p.numbers.Store(n)
		}
		errs = append(errs, err)
	}
	if p.certs != nil {
		errs = append(errs, p.certs.Reload())
	}
	return errors.Join(errs...)
}
