package rtprelay

import (
	"strconv"
	"strings"
)

// replyCode reads "E<digits>".
func replyCode(reply string) (int, bool) {
	if len(reply) < 2 || len(reply) > 4 || (reply[0] != 'E' && reply[0] != 'e') {
		return 0, false
	}
	n, err := strconv.Atoi(reply[1:])
	return n, err == nil && n >= 0
}

// errorReply turns an E reply into a typed error. Which ones another relay may do better: no ports or sockets, no memory,
// overload, shutdown; the others say that the command is wrong for any of them.
func errorReply(reply string) error {
	if !strings.HasPrefix(reply, "E") {
		return nil
	}
	code, ok := replyCode(reply)
	switch {
	case !ok:
		return &RefusedError{Code: clip(reply)}
	case code == 50:
		return ErrNoSession
	case code == 71 || code == 72 || (code >= 81 && code <= 89) || code == 98 || code == 99:
		return &BusyError{Code: reply, Reason: errorText(code)}
	}
	return &RefusedError{Code: reply, Reason: errorText(code)}
}

func errorText(code int) string {
	switch {
	case code == 0:
		return "unknown command"
	case code == 1:
		return "number of words"
	case code == 2:
		return "modifiers not allowed"
	case code == 3:
		return "bad sub-command"
	case code == 5:
		return "line cannot be parsed"
	case code == 10:
		return "notify tag"
	case code == 11 || code == 12:
		return "not a bridge"
	case code == 13:
		return "repacketization"
	case code == 14:
		return "codecs"
	case code == 15 || code == 31:
		return "local address or label"
	case code == 16 || code == 32:
		return "no route"
	case code == 17:
		return "play count"
	case code == 35:
		return "unknown modifier, or no codecs known"
	case code == 36:
		return "no listener of that address family"
	case code == 37:
		return "remote address or port"
	case code == 60:
		return "player"
	case code == 62 || code == 68:
		return "unknown counter"
	case code == 65:
		return "copy"
	case code == 71 || code == 72:
		return "no ports or sockets"
	case code == 75:
		return "notifications are not enabled"
	case code >= 81 && code <= 89:
		return "no memory"
	case code == 98:
		return "overloaded"
	case code == 99:
		return "shutting down"
	}
	return ""
}
