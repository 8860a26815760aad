//go:build !linux

package main

// batch is for Linux.
func batch() error { return nil }
