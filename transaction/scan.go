package transaction

import "strings"

// scanRequest finds the method and the branch of the topmost Via in the first
// bytes of a request, by plain scanning: the message may be cut anywhere. The
// branch is "" unless all of it is there.
func scanRequest(b []byte) (method, branch string) {
	s := string(b)
	line, rest, _ := strings.Cut(s, "\r\n")
	method, _, ok := strings.Cut(line, " ")
	if !ok || strings.HasPrefix(line, "SIP/2.0 ") {
		return "", ""
	}
	for rest != "" {
		var whole bool
		line, rest, whole = strings.Cut(rest, "\r\n")
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		name = strings.TrimRight(name, " \t")
		if strings.EqualFold(name, "Via") || strings.EqualFold(name, "v") {
			return method, scanBranch(value, whole)
		}
	}
	return "", ""
}

// scanBranch finds the branch in a Via value; whole tells that the line was not cut.
func scanBranch(v string, whole bool) string {
	for {
		_, after, ok := strings.Cut(v, ";")
		if !ok {
			return ""
		}
		v = after
		name, value, ok := strings.Cut(strings.TrimLeft(v, " \t"), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "branch") {
			continue
		}
		value = strings.TrimLeft(value, " \t")
		end := strings.IndexAny(value, ";, \t")
		if end < 0 && !whole {
			return ""
		}
		if end < 0 {
			end = len(value)
		}
		return value[:end]
	}
}
