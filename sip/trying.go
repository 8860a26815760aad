package sip

const (
	tryingLine = "SIP/2.0 100 Trying\r\n"
	tryingTail = "Content-Length: 0\r\n\r\n"
)

// AppendTrying appends the 100 to r as NewResponse would make it, without the response: every INVITE through a proxy gets one.
func AppendTrying(b []byte, r *Request) []byte {
	b = append(b, tryingLine...)
	l := r.list()
	for i := range l {
		if inTrying(l[i].id) {
			b = appendLine(b, r.line(&l[i]))
		}
	}
	return append(b, tryingTail...)
}

// TryingLen is the number of bytes AppendTrying appends, or one or two more.
func TryingLen(r *Request) int {
	n := len(tryingLine) + len(tryingTail)
	l := r.list()
	for i := range l {
		if inTrying(l[i].id) {
			n += int(l[i].size) + 2
		}
	}
	return n
}

func inTrying(id fieldID) bool {
	switch id {
	case idVia, idFrom, idTo, idCallID, idCSeq, idTimestamp:
		return true
	}
	return false
}

// appendLine appends a line with its end, which one that was cut off lacks.
func appendLine(b []byte, line string) []byte {
	b = append(b, line...)
	if line[len(line)-1] != '\n' {
		b = append(b, "\r\n"...)
	}
	return b
}
