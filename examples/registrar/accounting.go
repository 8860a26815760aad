package main

import (
	"context"
	"log/slog"

	"github.com/sipkit/sipkit/dialog"
)

// account writes a line for every call that begins, ends or comes to nothing: START, STOP, MISSED, REFUSED, CANCELLED, FAILED.
func account(log *slog.Logger) func(dialog.Event) {
	return func(e dialog.Event) {
		log.LogAttrs(context.Background(), slog.LevelInfo, "call", slog.Attr{Value: e.LogValue()}) // without a name its attributes stand for themselves
	}
}
