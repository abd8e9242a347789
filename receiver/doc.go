// Package receiver takes the push webhooks of Git servers, so that a commit is read within
// a second and not when the TrustDomain's interval is over.
//
//	POST /hook/<namespace>/<name>
//
// names the TrustDomain, whose spec.webhook says who sends and what proves it:
//
//	GitHub   X-Hub-Signature-256: sha256=<hex>   HMAC of the body
//	GitLab   X-Gitlab-Token: <token>             the token itself
//	Gitea    X-Gitea-Signature: <hex>            HMAC of the body; Forgejo: X-Forgejo-Signature,
//	         or X-Hub-Signature-256
//	Generic  X-Signature: sha256=<hex>           HMAC of the body, as Flux's generic-hmac
//
// All HMACs are HMAC-SHA256 (RFC 2104) under the token of spec.webhook.secretRef.
//
// # Answers
//
//	202  a turn was asked for
//	200  a ping, another event, another branch or another repository: the body says which
//	400  the body is no push in JSON
//	401  the signature or the token is not accepted; why is not told
//	404  there is no such TrustDomain, or it takes no webhooks
//	405  not a POST
//	413  the body is larger than 2 MiB
//	503  the Secret cannot be read, too much at once, or another replica has the turns
//
// # What a stranger can do
//
// Anybody who reaches the address may send. What a request may take of memory and time is
// bounded (see [NewServer]): headers and body have four seconds, and 32 at once may come
// from one address, of 128 in all. Behind an Ingress that does not buffer bodies, all have
// its address; let it buffer. A Secret is read once a minute, and once in five seconds
// while signatures do not match, whatever the number of requests; one that is read slowly
// holds up no other TrustDomain's, and one that cannot be read is a line in the log once a
// minute. A request that was sent by someone who knows the token only asks for a turn, as
// an interval that is over does: nothing of its body is used, but to tell whether it
// concerns the TrustDomain. Repeated, it asks for another, of which there is one a second
// at most (the reconciler sees to that). Tokens and signatures stand in no answer, log or
// metric.
//
// Whoever sends for a GitLab sends the token itself: let TLS end in front of the receiver,
// at an Ingress say, which speaks plain HTTP.
package receiver
