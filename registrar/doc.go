// Package registrar is the registration endpoint: a device shows its factory certificate, its
// registration becomes a Device document in Git, and it gets the certificate that cert-manager
// issues for it. It speaks REST, EST (RFC 7030) and QIoT's own.
//
//	device ──mTLS──▶ identify ─▶ decide ─▶ commit ─▶ await ──▶ certificate
//	                 └── registrar/admission ──┘  │        │
//	                                     Committer (Git)  Certificates (cluster)
//
// Everything behind it is an interface of [Options]; what may register is decided by package
// admission, which is pure.
//
// # Answers
//
//	201, 200  the registration is pushed to Git, and here is the certificate
//	202       it is pushed, or waits in a pull request; come again after Retry-After
//	400       CSR, id or body that nobody can use
//	401       no client certificate
//	403       this device may not have that; the problem says why
//	404       no such group, or not the device's; not registered
//	409       another device has this key
//	413       a body over 64 KiB
//	429, 503  too much, or Git is away; come again after Retry-After
//
// # What is promised
//
//   - Success is told after the push, never before. A device that got no answer asks again: the
//     same key is registered once, and makes no second commit.
//   - Renewals need no commit: while Git is away they go on.
//   - Only devices/** is ever asked to be written. Who is root is out of this endpoint's reach.
//   - A private key or password stands in no log, error, metric or commit.
//
// # Connections
//
// A client certificate is asked for and verified in the handler, so that one that has ended
// hears so and not a TLS alert. Nothing is resumed: each handshake shows both certificates
// anew. The endpoint's own certificate is looked up at each handshake ([Options.Serving]), so
// that it changes without a restart, and open connections stay.
//
//	ordinary name   leaf · intermediates · links     who knows the old root alone gets in
//	proof name      leaf · intermediates             ends in the new anchor alone: who gets in
//	                                                 has proved that it trusts that
//
// HTTP/1.1 alone is spoken: EST's clients know no other, and a connection is then one request
// at a time, which is what the limits count ([Limits]).
package registrar
