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
	for _, m := range [...]Method{INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, PRACK, UPDATE, MESSAGE, REFER, PUBLISH, INFO, SUBSCRIBE, NOTIFY} {
		if string(m) == s {
			return m
		}
	}
	return Method(s)
}
