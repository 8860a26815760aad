package rtprelay

// NGOptions is filled in by ng.go.
type NGOptions struct{}
