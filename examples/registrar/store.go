package main

import (
	"log/slog"
	"strings"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/registrar/redisstore"
)

func (c *config) openStore(log *slog.Logger) (registrar.Store, error) {
	switch {
	case c.store == "memory":
		return &registrar.Memory{}, nil
	case redisURL(c.store):
		cfg, err := redisstore.ParseURL(c.store)
		if err != nil {
			return nil, err
		}
		cfg.Logger = log
		s, err := redisstore.New(cfg)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	j, err := registrar.OpenJournal(c.data, registrar.JournalConfig{Logger: log, Gather: true})
	if err != nil {
		return nil, err // and no Store that holds a nil Journal
	}
	return j, nil
}

func redisURL(s string) bool {
	return strings.HasPrefix(s, "redis://") || strings.HasPrefix(s, "rediss://")
}
