package transport

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// stepConn is a connection whose writes wait for the test to take them.
type stepConn struct {
	net.Conn
	taken chan string
}

func (c *stepConn) Write(b []byte) (int, error) {
	c.taken <- "" // announced; the buffer may still be damaged here
	c.taken <- string(b)
	return len(b), nil
}

// A buffer that is being written is never appended to, whatever was too large to be kept before.
func TestWireBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Net: newMemNet()})
		sc := &stepConn{taken: make(chan string)}
		w := newWire(&conn{l: l}, sc)
		put := func(s string) {
			_, err := w.Write([]byte(s))
			require.NoError(t, err)
		}
		big := strings.Repeat("b", 100<<10)
		put("first")
		<-sc.taken
		put(big)
		require.Equal(t, "first", <-sc.taken)
		<-sc.taken
		put("abc")
		require.Equal(t, big, <-sc.taken)
		<-sc.taken
		put("XYZ")
		require.Equal(t, "abc", <-sc.taken)
		<-sc.taken
		require.Equal(t, "XYZ", <-sc.taken)
		synctest.Wait()
		require.False(t, w.writing)
		require.Zero(t, w.queued())
		require.NoError(t, l.Close())
	})
}
