// Package interop holds tests of the examples with real SIP programs: SIPp, Kamailio, sipsak. A program that is not installed skips its
// tests, naming it; in CI (the environment variable CI is set) it fails them. All traffic stays on 127.0.0.0/8.
package interop
