package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Log writes one line for each request when its handler returns: method, Request-URI, Call-ID, source, status, reason and
// duration. A request that got no answer (ACK, stateless mode, deliberate silence) has status 0. Nothing is built while the level is
// off. The zero value works.
type Log struct {
	Logger *slog.Logger // nil: that of the server, else slog.Default()
	Level  slog.Level   // Info
}

// Middleware is a sipproxy.Middleware.
func (l Log) Middleware(next sipproxy.Handler) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		logger := l.logger(r)
		if !logger.Enabled(ctx, l.Level) {
			return next.ServeSIP(ctx, r)
		}
		start := time.Now()
		res := next.ServeSIP(ctx, r)
		status, reason := 0, ""
		if res != nil && res != sipproxy.NoReply {
			status, reason = res.Code, res.Reason
		}
		logger.LogAttrs(ctx, l.Level, "request",
			slog.String("method", string(r.Method)),
			slog.String("uri", r.URI.String()),
			slog.String("call-id", r.CallID()),
			slog.String("source", r.Source.String()),
			slog.Int("status", status),
			slog.String("reason", reason),
			slog.Duration("duration", time.Since(start)))
		return res
	})
}

func (l Log) logger(r *sipproxy.Request) *slog.Logger {
	if l.Logger != nil {
		return l.Logger
	}
	if s := r.Server(); s != nil && s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}
