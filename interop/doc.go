// Package interop holds tests of the examples with real SIP programs: SIPp, Kamailio, sipsak, baresip. A program that is not installed skips its
// tests, naming it; in CI (the environment variable CI is set) it fails them. All traffic stays on loopback
// addresses and in network namespaces that the tests make; without the rights for those, their tests are skipped in CI too.
package interop
