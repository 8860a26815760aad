package sip

// A Method is a SIP method name. Methods compare with case (RFC 3261 §7.1).
type Method string

// The methods registered by RFC 3261, 3262, 3311, 3428, 3515, 3903, 6086 and 6665.
const (
	INVITE    Method = "INVITE"
	ACK       Method = "ACK"
	CANCEL    Method = "CANCEL"
	BYE       Method = "BYE"
	OPTIONS   Method = "OPTIONS"
	REGISTER  Method = "REGISTER"
	PRACK     Method = "PRACK"
	UPDATE    Method = "UPDATE"
	MESSAGE   Method = "MESSAGE"
	REFER     Method = "REFER"
	PUBLISH   Method = "PUBLISH"
	INFO      Method = "INFO"
	SUBSCRIBE Method = "SUBSCRIBE"
	NOTIFY    Method = "NOTIFY"
)

// knownMethod gives the constant for a registered method, so that what keeps a Method does not keep a message's text.
func knownMethod(s string) Method {
	if m := everydayMethod(s); m != "" {
		return m
	}
	return Method(s)
}

// everydayMethod is "" for a method that is not registered.
//
//go:noinline
func everydayMethod(s string) Method {
	switch Method(s) {
	case INVITE:
		return INVITE
	case ACK:
		return ACK
	case BYE:
		return BYE
	case CANCEL:
		return CANCEL
	case OPTIONS:
		return OPTIONS
	case REGISTER:
		return REGISTER
	case PRACK:
		return PRACK
	case UPDATE:
		return UPDATE
	case MESSAGE:
		return MESSAGE
	case REFER:
		return REFER
	case PUBLISH:
		return PUBLISH
	case INFO:
		return INFO
	case SUBSCRIBE:
		return SUBSCRIBE
	case NOTIFY:
		return NOTIFY
	}
	return ""
}
