package transport

import "net"

func newPacketIO(pc net.PacketConn, _ *listener) (packetIO, error) { return newPlainIO(pc), nil }
