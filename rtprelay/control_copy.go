package rtprelay

import "strings"

// copy is C[P] callid target tag [tag]: what the party of the first tag sends goes to "udp:host:port" too, RTCP to the port after it, or into a file of the recording
// directory, as pcap. P asks where the copies come from. A further C for the party takes the place of the one before; N ends it.
func (c *Control) copy(cmd controlCommand) (string, controlCode) {
	if len(cmd.args) < 3 || len(cmd.args) > 4 {
		return "", codeWords
	}
	tell := strings.EqualFold(cmd.mods, "P")
	if cmd.mods != "" && !tell {
		return "", codeMods
	}
	unlock, code := c.lock()
	if code != codeNone {
		return "", code
	}
	defer unlock()
	s, side := c.session(cmd.args[0], cmd.args[2:])
	if s == nil {
		return "", codeSession
	}
	target := cmd.args[1]
	if !strings.HasPrefix(target, "udp:") {
		if tell || c.Engine.copyToFile(s, side, target) != nil {
			return "", codeCopy
		}
		return "0", codeNone
	}
	from, err := c.Engine.copyTo(s, side, target[len("udp:"):])
	switch {
	case err != nil:
		return "", codeCopy
	case tell:
		return portReply(from), codeNone
	}
	return "0", codeNone
}
