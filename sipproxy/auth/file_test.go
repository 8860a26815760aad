package auth_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sipproxy/auth"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	_, err := auth.OpenFile(path)
	require.ErrorIs(t, err, os.ErrNotExist)

	s := auth.Password("example.com", "bob", "secret")
	write("bob:example.com:" + s.MD5 + "\n")
	f, err := auth.OpenFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, f.Len())
	got, err := f.Secret(context.Background(), "example.com", "bob")
	require.NoError(t, err)
	require.Equal(t, auth.Secret{MD5: s.MD5}, got)
	require.Equal(t, auth.MD5, f.Algorithms("example.com"))

	write("bob:example.com:" + s.MD5 + "\nbroken\n")
	require.ErrorContains(t, f.Reload(), "users:2:")
	require.Equal(t, 1, f.Len(), "the users stay as they were")

	write(strings.Join([]string{"bob:example.com", s.MD5, s.SHA256, s.SHA512256}, ":") + "\ncarol:example.org:" + s.MD5)
	require.NoError(t, f.Reload())
	require.Equal(t, 2, f.Len())
	require.Equal(t, auth.MD5|auth.SHA256|auth.SHA512256, f.Algorithms("example.com"))
	got, err = f.Secret(context.Background(), "example.com", "nobody")
	require.NoError(t, err)
	require.Zero(t, got)
}
