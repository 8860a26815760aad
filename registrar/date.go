package registrar

// date is an RFC 1123 date, always in GMT (§20.17): "Sat, 13 Nov 2010 23:29:00 GMT". A registrar with little to do writes one with each 200, and
// package time's formatting touches four times as much code. second counts from 1970 and is not before that.
func date(second int64) string {
	const weekdays, months = "ThuFriSatSunMonTueWed", "MarAprMayJunJulAugSepOctNovDecJanFeb"
	days, rest := uint64(second)/86400, uint64(second)%86400
	// Years begin in March, so that the leap day is the last; 719468 days before 1970 a cycle of 400 years did.
	z := days + 719468
	cycle, day := z/146097, z%146097
	year := (day - day/1460 + day/36524 - day/146096) / 365
	day -= year*365 + year/4 - year/100
	month := (5*day + 2) / 153 // from March
	day -= (153*month+2)/5 - 1
	year += cycle * 400
	if month >= 10 {
		year++
	}
	b := [...]byte{25: ' ', 26: 'G', 27: 'M', 28: 'T'}
	copy(b[:], weekdays[days%7*3:][:3])
	b[3], b[4], b[7], b[11], b[16] = ',', ' ', ' ', ' ', ' '
	copy(b[8:], months[month*3:][:3])
	digits(b[5:], day)
	digits(b[12:], year/100)
	digits(b[14:], year%100)
	digits(b[17:], rest/3600)
	digits(b[20:], rest/60%60)
	digits(b[23:], rest%60)
	b[19], b[22] = ':', ':'
	return string(b[:])
}

// digits writes the last two of n.
func digits(b []byte, n uint64) { b[0], b[1] = '0'+byte(n/10%10), '0'+byte(n%10) }
