package siptest

import (
	"regexp"
	"runtime"
	"strings"
)

var bubbleID = regexp.MustCompile(`synctest bubble (\d+)`)

// leaked gives the stacks of the goroutines in this bubble, without our own and that of package testing.
func leaked() string {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	all := strings.Split(string(b), "\n\n")
	m := bubbleID.FindString(firstLine(all[0])) // our own comes first
	if m == "" {
		return ""
	}
	var left []string
	for _, s := range all[1:] {
		head := firstLine(s)
		if bubbleID.FindString(head) == m && !strings.Contains(s, "testing/synctest.Test(") && !strings.Contains(s, "testing/synctest.testingSynctestTest(") {
			left = append(left, s)
		}
	}
	return strings.Join(left, "\n\n")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
