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
		last := uint32(0)
		type key struct {
			hash uint64
			aor  AOR
		}
		model := map[key]uint32{}
		for range 3000 {
			k := key{hash: ^uint64(r.IntN(hashes))} // the last slots: runs go round
			k.aor = AOR(fmt.Sprint(k.hash, "-", r.IntN(3)))
			at := x.find(k.hash, k.aor)
			require.Equal(t, model[k], placeAt(&x, at))
			switch {
			case at != nowhere && r.IntN(2) == 0:
				x.remove(at)
				delete(model, k)
			case at == nowhere && len(model) < 500:
				last++
				x.add(slot{makeText(appendText(nil, k.aor), len(k.aor)), tagOf(k.hash), last})
				model[k] = last
			}
			require.Equal(t, len(model), x.used)
		}
		for k, want := range model {
			at := x.find(k.hash, k.aor)
			require.Equal(t, want, placeAt(&x, at))
			require.Equal(t, k.aor, x.slots[at].text.aor())
			require.Equal(t, at, x.holds(tagOf(k.hash), want))
		}
	}
}

func placeAt(x *index, at int) uint32 {
	if at == nowhere {
		return 0
	}
	return x.slots[at].place
}
