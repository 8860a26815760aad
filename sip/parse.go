package sip

import "strings"

// maxIndexed bounds the index that a message of many short lines can make grow; what is beyond is refused by Valid.
const maxIndexed = 1024

// Parse reads one datagram. It copies b once; nothing of b is kept. It is lenient: whatever has a start line that can be
// told to be SIP gives a message, whose faults Valid names. err is a *ParseError (message nil) when there is nothing to answer to.
// Bytes after Content-Length are not part of the message: Trailing reports them. Empty lines before the start line are skipped (§7.5).
func Parse(b []byte) (Message, error) { return ParseString(string(b)) }

// ParseString is Parse for text that is already a string; the message keeps it.
func ParseString(s string) (Message, error) {
	n := 0
	for n < len(s) && (s[n] == '\r' || s[n] == '\n') {
		n++
	}
	m, reason := parse(s[n:])
	if reason != "" {
		return nil, bad("start line", reason, n)
	}
	return m, nil
}

// ParseRequest is ParseString for requests; a response is an error.
func ParseRequest(s string) (*Request, error) {
	m, err := ParseString(s)
	if err != nil {
		return nil, err
	}
	if r, ok := m.(*Request); ok {
		return r, nil
	}
	return nil, bad("start line", "not a request", 0)
}

// ParseResponse is ParseString for responses; a request is an error.
func ParseResponse(s string) (*Response, error) {
	m, err := ParseString(s)
	if err != nil {
		return nil, err
	}
	if r, ok := m.(*Response); ok {
		return r, nil
	}
	return nil, bad("start line", "not a response", 0)
}

func parse(text string) (Message, string) {
	if uint64(len(text)) > 1<<31 {
		return nil, "message too long"
	}
	line, end := cutLine(text)
	odd := flags(0)
	if end == len(line)+1 {
		odd = bareLF
	}
	if len(line) > 4 && line[3] == '/' && equalFold(line[:4], "SIP/") {
		code, reason, fault := statusLine(line)
		if fault != "" {
			return nil, fault
		}
		r := newResponse()
		r.Code, r.Reason, r.text = code, reason, text
		r.flags = odd
		r.index(end)
		return r, ""
	}
	method, uri, oddStart, fault := requestLine(line)
	if fault != "" {
		return nil, fault
	}
	r := newRequest()
	r.Method, r.text = method, text
	r.flags = odd | oddStart
	if reason, at := r.URI.parse(uri); reason != "" {
		r.URI = URI{}
		r.uriErr = bad("URI", reason, at)
	}
	r.index(end)
	return r, ""
}

// cutLine gives the first line without its end, and the index behind the end.
func cutLine(s string) (line string, end int) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return s, len(s)
	}
	if i > 0 && s[i-1] == '\r' {
		return s[:i-1], i + 1
	}
	return s[:i], i + 1
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// requestLine splits Method SP Request-URI SP SIP-Version.
func requestLine(line string) (m Method, uri string, odd flags, fault string) {
	const version = " SIP/2.0"
	i := run(line, 0, isToken)
	n := len(line) - len(version)
	if i == 0 || i+1 >= n || line[i] != ' ' || isBlank(line[i+1]) || isBlank(line[n-1]) || line[n:] != version {
		return oddRequestLine(line)
	}
	return knownMethod(line[:i]), line[i+1 : n], 0, ""
}

// oddRequestLine is requestLine for every line there can be. It splits by the first and the last blank: a URI with blanks in it shall come out as a
// bad URI, not as a line that is not SIP.
//
//go:noinline
func oddRequestLine(line string) (m Method, uri string, odd flags, fault string) {
	whole := line
	line = strings.TrimRight(line, " \t")
	first, last := strings.IndexByte(line, ' '), strings.LastIndexByte(line, ' ')
	if first <= 0 || last+5 > len(line) || !equalFold(line[last+1:last+5], "SIP/") {
		return "", "", 0, "no SIP-Version at its end"
	}
	if !allOf(line[:first], isToken) {
		return "", "", 0, "method is no token"
	}
	if last > first {
		uri = strings.Trim(line[first:last], " \t")
	}
	if first+1+len(uri)+len(" SIP/2.0") != len(whole) {
		odd |= startOdd
	}
	if !equalFold(lastWord(line), "SIP/2.0") {
		odd |= versionOdd
	}
	return knownMethod(line[:first]), uri, odd, ""
}

// statusLine splits SIP-Version SP Status-Code SP Reason-Phrase; the last SP may be missing.
func statusLine(line string) (code int, reason, fault string) {
	i := strings.IndexByte(line, ' ')
	if i < 0 {
		return 0, "", "no Status-Code"
	}
	rest := line[i+1:]
	n, end := digits(rest, 1<<31-1)
	if end == 0 && rest != "" && isDigit(rest[0]) { // too large: the line is one of SIP all the same, for Valid to refuse
		for n = 1<<31 - 1; end < len(rest) && isDigit(rest[end]); {
			end++
		}
	}
	if end == 0 || end < len(rest) && rest[end] != ' ' {
		return 0, "", "Status-Code is no number"
	}
	if end < len(rest) {
		reason = rest[end+1:]
	}
	return int(n), reason, ""
}

// index finds the header fields from offset i on, and the body.
func (h *Header) index(i int) {
	text := h.text
	if i < len(text) && isBlank(text[i]) {
		i = h.foldedStart(i)
	}
	h.start = span{0, uint32(i)}
	for {
		i = h.everyday(i)
		if i >= len(text) || text[i] <= '\r' && emptyLine(text[i:]) {
			break
		}
		i += h.oddLine(i)
	}
	h.endHeader(i, h.length())
}

// length is the Content-Length to use, -1 for all there is.
func (h *Header) length() int {
	length, lengths := -1, 0
	if h.flags&twice == 0 {
		if f := h.field(idContentLength); f != nil {
			return h.frame(h.value(f), length, 1)
		}
		return length
	}
	l := h.list()
	for i := range l {
		if l[i].id == idContentLength {
			lengths++
			length = h.frame(h.value(&l[i]), length, lengths)
		}
	}
	return length
}

// oddLine indexes the line at i, whatever it looks like, and gives its size. What is too long for a field line, or one too many, becomes bad fields.
//
//go:noinline
func (h *Header) oddLine(i int) (size int) {
	if h.count >= maxIndexed {
		size = h.rest(i) - i
	} else {
		f := h.slot()
		if size = h.scanOdd(f, i) - i; size > maxLine {
			h.unslot()
			h.chunks(i, i+size)
		}
	}
	f := &h.list()[h.count-1]
	h.placed(f.id, int(h.count))
	if f.id-idBad <= idTo-idBad {
		h.note(f.id, f.at, h.value(f))
	}
	return size
}

//go:noinline
func emptyLine(s string) bool { return s[0] == '\n' || len(s) > 1 && s[0] == '\r' && s[1] == '\n' }

// foldedStart passes over the lines at i that look like folds: a start line cannot be folded, and they must not become the folds of another field.
//
//go:noinline
func (h *Header) foldedStart(i int) int {
	for i < len(h.text) && isBlank(h.text[i]) {
		h.flags |= startFolded
		_, n := cutLine(h.text[i:])
		i += n
	}
	return i
}

// frame notes what is wrong with a Content-Length and gives the length to use, -1 for all there is.
func (h *Header) frame(v string, length, nth int) int {
	n, ok := number(v, 1<<31-1)
	if !ok {
		h.flags |= lenBad
		return length
	}
	if nth > 1 && length != int(n) {
		h.flags |= lenTwo
		return length
	}
	return int(n)
}

// endHeader sets body and trailing bytes; i is the index of the empty line.
func (h *Header) endHeader(i, length int) {
	switch {
	case i >= len(h.text):
		h.flags |= noTail
	case h.text[i] == '\n':
		h.flags |= bareLF
	}
	h.tail = uint32(i)
	body := h.bodyAt()
	have := len(h.text) - body
	if length > have {
		h.flags |= lenShort
	} else if length >= 0 && length < have {
		h.trailing = uint32(have - length)
		h.text = h.text[:body+length]
	}
}

// rest takes the lines from i to the empty line as one piece that is no field.
//
//go:noinline
func (h *Header) rest(i int) int {
	end := i
	for end < len(h.text) && h.text[end] != '\n' && !strings.HasPrefix(h.text[end:], "\r\n") {
		_, n := cutLine(h.text[end:])
		end += n
	}
	h.chunks(i, end)
	return end
}

// chunks makes bad fields of [i, end), none longer than a field can be.
//
//go:noinline
func (h *Header) chunks(i, end int) {
	for i < end {
		n := min(end-i, maxLine)
		*h.slot() = field{at: uint32(i), size: uint16(n), valLen: uint16(n), id: idBad}
		i += n
	}
	h.flags |= oddField | tooMany
}

// scanOdd reads the field line at i with its folds (§7.3.1) into f, whatever it looks like, and gives the index behind it. A line over maxLine is left to
// the caller.
//
//go:noinline
func (h *Header) scanOdd(f *field, i int) int {
	text := h.text
	end := len(text)
	for at := i; ; {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			break
		}
		if text[at+n-1] != '\r' { // a start line lies before
			h.flags |= bareLF
		}
		at += n + 1
		if at == len(text) || !isBlank(text[at]) {
			end = at
			break
		}
	}
	line := text[i:end]
	if len(line) > maxLine {
		return end
	}
	name := 0
	for name < len(line) && is(line[name], isToken) {
		name++
	}
	colon := name
	for colon < len(line) && isBlank(line[colon]) {
		colon++
	}
	val, valEnd := colon+1, len(line)
	if colon < len(line) && line[colon] == ':' && name > 0 {
		f.id = lookupName(line[:name])
	} else {
		f.id = idBad
		val = 0
	}
	for val < valEnd && isSpace(line[val]) {
		val++
	}
	for valEnd > val && isSpace(line[valEnd-1]) {
		valEnd--
	}
	f.at, f.size = uint32(i), uint16(len(line))
	f.val, f.valLen = uint16(val), uint16(valEnd-val)
	return end
}
