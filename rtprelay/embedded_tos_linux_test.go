package rtprelay

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tosOf is the traffic class of an IPv4 socket.
func tosOf(t *testing.T, s relaySocket) (tos int) {
	get := func(fd int) {
		var err error
		tos, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS)
		require.NoError(t, err)
	}
	if s.conn == nil {
		get(s.fd)
		return tos
	}
	raw, err := s.conn.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { get(int(fd)) }))
	return tos
}
