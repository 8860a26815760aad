package rtprelay

import "strings"

// maxNesting bounds multiparts within multiparts.
const maxNesting = 4

// SplitBody finds the session description in a message body: the whole of an application/sdp one, or the first
// application/sdp part of a multipart one (RFC 5621) that is meant for the session: a part with another Content-Disposition
// (early-session, RFC 3959) or a transfer encoding that hides it is passed over. before + sdp + after is the body; put the new description in the
// middle. ok is false when there is none.
func SplitBody(contentType, body string) (before, sdp, after string, ok bool) {
	from, to, ok := findSDP(contentType, body, 0, len(body), 0)
	if !ok {
		return body, "", "", false
	}
	return body[:from], body[from:to], body[to:], true
}

func findSDP(contentType, body string, from, to, depth int) (int, int, bool) {
	kind, params, _ := strings.Cut(contentType, ";")
	kind = strings.TrimSpace(kind)
	if strings.EqualFold(kind, "application/sdp") {
		return from, to, from < to
	}
	if !hasFold(kind, "multipart/") || depth == maxNesting {
		return 0, 0, false
	}
	boundary := boundaryOf(params)
	if boundary == "" {
		return 0, 0, false
	}
	start, next, last := nextDelimiter(body, boundary, from, to)
	for start >= 0 && !last {
		partFrom := next
		start, next, last = nextDelimiter(body, boundary, partFrom, to)
		partTo := start
		if start < 0 { // the closing delimiter is missing
			partTo = to
		}
		ctype, content, usable := partHead(body, partFrom, partTo)
		if usable {
			if f, t, ok := findSDP(ctype, body, content, partTo, depth+1); ok {
				return f, t, true
			}
		}
	}
	return 0, 0, false
}

// boundaryOf reads the boundary parameter, RFC 2046 section 5.1.1.
func boundaryOf(params string) string {
	for params != "" {
		params = strings.TrimLeft(params, "; \t")
		i := strings.IndexByte(params, '=')
		if i < 0 {
			return ""
		}
		name := strings.TrimSpace(params[:i])
		value := strings.TrimLeft(params[i+1:], " \t")
		if strings.HasPrefix(value, `"`) {
			value = value[1:]
			end := strings.IndexByte(value, '"')
			if end < 0 {
				return ""
			}
			value, params = value[:end], value[end+1:]
		} else {
			end := strings.IndexAny(value, "; \t")
			if end < 0 {
				end = len(value)
			}
			value, params = value[:end], value[end:]
		}
		if strings.EqualFold(name, "boundary") {
			if len(value) > 70 {
				return ""
			}
			return value
		}
	}
	return ""
}

// nextDelimiter finds the next line that is the delimiter: start is where the part before it ends (its line end belongs to the
// delimiter), next where the text after it starts. start is -1 when there is none.
func nextDelimiter(body, boundary string, from, to int) (start, next int, last bool) {
	for at := from; at < to; {
		end := to
		nl := to
		if i := strings.IndexByte(body[at:to], '\n'); i >= 0 {
			end, nl = at+i, at+i+1
		}
		line := strings.TrimRight(body[at:end], "\r \t")
		if strings.HasPrefix(line, "--") && strings.HasPrefix(line[2:], boundary) {
			rest := line[2+len(boundary):]
			if rest == "" || rest == "--" {
				return max(from, dropEOL(body, from, at)), nl, rest == "--"
			}
		}
		at = nl
	}
	return -1, to, true
}

func dropEOL(body string, from, at int) int {
	if at > from && body[at-1] == '\n' {
		at--
		if at > from && body[at-1] == '\r' {
			at--
		}
	}
	return at
}

// partHead reads the header of a part: its type, where its content starts, and whether the content can be used.
func partHead(body string, from, to int) (contentType string, content int, usable bool) {
	usable = true
	for at := from; at < to; {
		end, nl := to, to
		if i := strings.IndexByte(body[at:to], '\n'); i >= 0 {
			end, nl = at+i, at+i+1
		}
		line := strings.TrimRight(body[at:end], "\r")
		if line == "" {
			return contentType, nl, usable
		}
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Content-Type") || strings.EqualFold(name, "c"):
			contentType = value
		case strings.EqualFold(name, "Content-Disposition"):
			kind, _, _ := strings.Cut(value, ";")
			usable = usable && strings.EqualFold(strings.TrimSpace(kind), "session")
		case strings.EqualFold(name, "Content-Transfer-Encoding"):
			usable = usable && (strings.EqualFold(value, "binary") || strings.EqualFold(value, "8bit") || strings.EqualFold(value, "7bit"))
		case strings.EqualFold(name, "Content-Encoding") || strings.EqualFold(name, "Content-Length"):
			usable = false // compressed, or a length that would no longer be true
		}
		at = nl
	}
	return "", to, false
}
