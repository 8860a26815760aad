// Package siptest tests SIP routing without a network: hosts, links and DNS in memory, scripted phones, and virtual time.
package siptest
