package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// readKeys reads the secrets of Server.Keys: a line of hexadecimal digits each, the current one first, the previous one below it. A file that is not
// there is made with a new secret, so that flow tokens, nonces and signed routes outlive a restart.
func readKeys(file string) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newKeys(file)
	}
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		k := make([]byte, hex.DecodedLen(len(line)))
		if _, err := hex.Decode(k, line); err != nil || len(k) < 16 {
			return nil, fmt.Errorf("%s: a key is at least 32 hexadecimal digits", file)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no key in it", file)
	}
	return keys, nil
}

func newKeys(file string) ([][]byte, error) {
	k := make([]byte, 32)
	rand.Read(k)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	return [][]byte{k}, os.WriteFile(file, append(hex.AppendEncode(nil, k), '\n'), 0o600)
}
