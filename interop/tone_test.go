package interop

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const sampleRate = 8000

// writeTone makes a WAV file, 8 kHz mono, of a sine wave.
func writeTone(t *testing.T, path string, hertz float64, length time.Duration) {
	t.Helper()
	n := int(length.Seconds() * sampleRate)
	b := make([]byte, 44, 44+2*n)
	copy(b, "RIFF")
	binary.LittleEndian.PutUint32(b[4:], uint32(36+2*n))
	copy(b[8:], "WAVEfmt ")
	binary.LittleEndian.PutUint32(b[16:], 16)
	binary.LittleEndian.PutUint16(b[20:], 1) // PCM
	binary.LittleEndian.PutUint16(b[22:], 1) // channels
	binary.LittleEndian.PutUint32(b[24:], sampleRate)
	binary.LittleEndian.PutUint32(b[28:], 2*sampleRate)
	binary.LittleEndian.PutUint16(b[32:], 2)
	binary.LittleEndian.PutUint16(b[34:], 16)
	copy(b[36:], "data")
	binary.LittleEndian.PutUint32(b[40:], uint32(2*n))
	for i := range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(2*math.Pi*hertz*float64(i)/sampleRate))))
	}
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// readSound gives the last n samples of a WAV file that is still being written: the length in its head counts for nothing. It gives nothing when
// there are fewer.
func readSound(path string, n int) []float64 {
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 44+2*n {
		return nil
	}
	b = b[:len(b)&^1]
	b = b[len(b)-2*n:]
	samples := make([]float64, n)
	for i := range samples {
		samples[i] = float64(int16(binary.LittleEndian.Uint16(b[2*i:])))
	}
	return samples
}

// goertzel is the share of the power of the samples that is at a frequency: 1 for a clean tone.
func goertzel(samples []float64, hertz float64) float64 {
	k := 2 * math.Cos(2*math.Pi*hertz/sampleRate)
	var s1, s2, total float64
	for _, x := range samples {
		s1, s2 = x+k*s1-s2, s1
		total += x * x
	}
	if total == 0 {
		return 0
	}
	return (s1*s1 + s2*s2 - k*s1*s2) / (total * float64(len(samples)) / 2)
}

// pitch is the loudest frequency, in steps of 10 Hz, and its share of the power.
func pitch(samples []float64) (hertz, share float64) {
	for f := 200.0; f <= 3400; f += 10 {
		if s := goertzel(samples, f); s > share {
			hertz, share = f, s
		}
	}
	return hertz, share
}

// newest is the recording that a phone began last of what it hears.
func newest(dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, "dump-*-dec.wav"))
	if len(names) == 0 {
		return ""
	}
	return slices.MaxFunc(names, func(a, b string) int { return modified(a).Compare(modified(b)) })
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func TestPitch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tone.wav")
	writeTone(t, path, 730, time.Second)
	hertz, share := pitch(readSound(path, 4000))
	require.Equal(t, 730.0, hertz)
	require.InDelta(t, 1, share, 0.01)
	hertz, share = pitch(make([]float64, 4000))
	require.Zero(t, share)
	require.Zero(t, hertz)
}
