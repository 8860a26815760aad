package rtprelay

import (
	"bufio"
	"encoding/xml"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

const (
	maxTeardown  = 16 << 10 // an XML-RPC request of rtpengine is some 300 bytes
	teardownWait = 10 * time.Second
)

// serveHTTP reads one XML-RPC call of rtpengine, which makes a connection for each, and says OK. It is not worth a web server: the method, the path and all
// header fields but the length are of no interest.
func (n *Notifications) serveHTTP(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(teardownWait))
	body, ok := readPost(c)
	var r Ref
	if ok {
		r, ok = parseTeardown(body)
	}
	n.told(r, ok)
	answer := "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	if ok {
		const said = `<?xml version="1.0"?><methodResponse><params><param><value><string>OK</string></value></param></params></methodResponse>`
		answer = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: " + strconv.Itoa(len(said)) + "\r\nConnection: close\r\n\r\n" + said
	}
	_, _ = io.WriteString(c, answer)
}

func readPost(c net.Conn) (body string, ok bool) {
	r := textproto.NewReader(bufio.NewReader(io.LimitReader(c, maxTeardown)))
	first, err := r.ReadLine()
	if err != nil || !strings.HasPrefix(first, "POST ") {
		return "", false
	}
	h, err := r.ReadMIMEHeader()
	if err != nil {
		return "", false
	}
	length, err := strconv.ParseUint(h.Get("Content-Length"), 10, 32)
	if err != nil || length > maxTeardown {
		return "", false
	}
	b := make([]byte, length)
	_, err = io.ReadFull(r.R, b)
	return string(b), err == nil
}

// parseTeardown reads "dlg.terminate_dlg" (--xmlrpc-format=2): Call-ID and two tags, and "teardown" (1): the Call-ID alone. What format 0 says names no call.
func parseTeardown(body string) (Ref, bool) {
	method, args := xmlStrings(body)
	switch {
	case method == "teardown" && len(args) == 1:
	case method == "dlg.terminate_dlg" && len(args) == 3:
	default:
		return Ref{}, false
	}
	r := refOf(args[0])
	if len(args) == 3 {
		r.FromTag, r.ToTag = args[1], args[2]
	}
	return r, r.CallID != ""
}

// xmlStrings collects the name of the method and the parameters that are strings, those without a type included.
func xmlStrings(body string) (method string, args []string) {
	d := xml.NewDecoder(strings.NewReader(body))
	var text strings.Builder
	for {
		t, err := d.Token()
		if err != nil {
			return method, args
		}
		switch t := t.(type) {
		case xml.StartElement:
			text.Reset()
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			switch t.Name.Local {
			case "methodName":
				method = strings.TrimSpace(text.String())
			case "string":
				args = append(args, text.String())
			}
		}
	}
}

// refOf undoes sessionID. A Call-ID holds no semicolon (RFC 3261 section 25.1).
func refOf(session string) Ref {
	id, leg, ok := strings.Cut(session, ";leg")
	if n, err := strconv.ParseUint(leg, 10, 31); ok && err == nil {
		return Ref{CallID: id, Leg: int(n)}
	}
	return Ref{CallID: session}
}
