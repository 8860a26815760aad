package registrar

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDate(t *testing.T) {
	check := func(at time.Time) {
		if want := at.Format("Mon, 02 Jan 2006 15:04:05 GMT"); want != date(at.Unix()) {
			require.Equal(t, want, date(at.Unix()))
		}
	}
	const most = 400 * 366
	for day := range most { // every day of a whole cycle of the calendar
		check(time.Date(1970, 1, 1+day, 0, 0, 0, 0, time.UTC))
	}
	for second := range 86400 {
		check(time.Date(2024, 2, 29, 0, 0, second, 0, time.UTC))
	}
	check(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
}
