//go:build !linux

package registrar

import (
	"errors"
	"os"
)

func allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

// mapFile leaves the file as it is: it is written by write(2).
func mapFile(f *os.File, _ int64, _ func(*os.File, int64, int64) error) file { return f }
