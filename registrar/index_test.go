package registrar

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The index against a plain map, with so few hashes that slots collide, run over the end and are taken out of the middle of a run.
func TestIndexAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		hashes := 1 << r.IntN(12)
		var x index
		l := []entry{{}}
		type key struct {
			hash uint64
			aor  AOR
		}
		model := map[key]uint32{}
		for range 3000 {
			k := key{hash: ^uint64(r.IntN(hashes))} // the last slots: runs go round
			k.aor = AOR(fmt.Sprint(k.hash, "-", r.IntN(3)))
			place, at := x.find(k.hash, l, k.aor)
			require.Equal(t, model[k], place)
			switch {
			case place != 0 && r.IntN(2) == 0:
				x.remove(at)
				delete(model, k)
			case place == 0 && len(model) < 500:
				l = append(l, entry{text: string(k.aor), aorLen: uint32(len(k.aor))})
				x.add(k.hash, uint32(len(l)-1))
				model[k] = uint32(len(l) - 1)
			}
			require.Equal(t, len(model), x.used)
		}
		for k, want := range model {
			place, _ := x.find(k.hash, l, k.aor)
			require.Equal(t, want, place)
		}
	}
}
