package v1alpha1

// FieldManager is the name under which reanchor owns fields in the cluster.
const FieldManager = "reanchor"

// Labels that reanchor sets on what it renders.
const (
	// LabelDomainName and LabelDomainNamespace name the TrustDomain that an
	// object belongs to; prune looks at nothing else.
	LabelDomainName      = "reanchor.dev/domain"
	LabelDomainNamespace = "reanchor.dev/domain-namespace"
	// LabelAuthority and LabelKey name the authority and the key that a CA
	// Certificate or an internal issuer belongs to.
	LabelAuthority = "reanchor.dev/authority"
	LabelKey       = "reanchor.dev/key"
	// LabelBinding names the IssuerBinding that an issuer or a canary belongs to.
	LabelBinding = "reanchor.dev/binding"
	// LabelBundle names the TrustBundle that a trust-manager Bundle, or a ConfigMap that
	// reanchor writes itself, belongs to.
	LabelBundle = "reanchor.dev/bundle"
	// LabelLink marks the CertificateRequests of link certificates: the request of a new
	// root, sent through the internal issuer of an old one. Its value is "true"; what the
	// link is worth, its certificate tells.
	LabelLink = "reanchor.dev/link"
	// LabelDeviceGroup names the DeviceGroup of the device that a CertificateRequest or a
	// Certificate is for. What bears it belongs to the device lane: nothing else applies or
	// prunes it.
	LabelDeviceGroup = "reanchor.dev/device-group"
	// LabelCanary marks the short-lived CertificateRequests by which reanchor
	// proves which key an issuer signs with. Its value is "true".
	LabelCanary = "reanchor.dev/canary"
)

// LabelEnvironment is set by people, on an Authority, on the Namespace that its keys lie in,
// or on the TrustDomain. Its value [EnvironmentProduction] forbids rollovers without soak or
// skew.
const LabelEnvironment = "reanchor.dev/environment"

// EnvironmentProduction is the value of [LabelEnvironment] that matters.
const EnvironmentProduction = "production"

// Annotations that reanchor reads or sets.
const (
	// AnnotationReloads is set by a workload's owner, on the workload or its pod
	// template: the workload reloads a mounted bundle by itself within that time
	// of the copy's change ("90s"; "true" means 2m). Without it, reanchor restarts
	// the workload. It says nothing for a bundle that reaches the pod by subPath or
	// environment, which the kubelet never refreshes.
	AnnotationReloads = "reanchor.dev/reloads"
	// AnnotationBundleSHA256 is set on a pod template at a restart: the SHA-256,
	// in lower-case hex, of the bundle copies that its pods load at their start and of
	// their Bundles' revisions. See planner.CopiesDigest.
	AnnotationBundleSHA256 = "reanchor.dev/bundle-sha256"
	// AnnotationLeavesSHA256 is set on a pod template at a restart: the SHA-256,
	// in lower-case hex, of the leaves that its pods load at their start. See
	// planner.LeavesDigest.
	AnnotationLeavesSHA256 = "reanchor.dev/leaves-sha256"
	// AnnotationOwnCA is set by a workload's owner, on the workload or its pod
	// template. "Unused" says that the workload does not verify with the ca.crt of the
	// leaf Secrets that it mounts. Without it, a workload that seems to holds a rollover
	// before Switch: at its reissue a leaf's ca.crt becomes the new root alone.
	AnnotationOwnCA = "reanchor.dev/own-ca"
	// AnnotationSignsWith is set on a binding's issuer whose key stays behind an external
	// one: the key, as "cert-manager/fleet-root/2025", whose spec it was given. On a device's
	// CertificateRequest or Certificate it names the key that it was made for.
	AnnotationSignsWith = "reanchor.dev/signs-with"
	// AnnotationCertificates is set on a Bundle, and on a ConfigMap that reanchor writes
	// itself: the SHA-256 fingerprints, in lower-case hex, with commas between, of the
	// anchors that came from spec.certificates of the TrustBundle.
	AnnotationCertificates = "reanchor.dev/certificates"
	// AnnotationAdopt is written on an IssuerBinding or a TrustBundle, in Git, by whoever
	// wants the object of its name taken over that stands in the cluster already and that
	// reanchor did not make. Its value is "true". Without it, such an object is refused.
	AnnotationAdopt = "reanchor.dev/adopt"
	// AnnotationAdopted is set on an object that was taken over so; its value is "true". It
	// is never pruned: when its document leaves Git it loses reanchor's labels and stays as
	// it is, this annotation included.
	AnnotationAdopted = "reanchor.dev/adopted"
	// AnnotationAcceptRevision is set by a person on a TrustDomain whose branch was
	// rewritten: the one revision, "main@sha1:<commit>", that may take the place of what
	// was read before, though its history does not hold it. It counts once: what a turn has
	// answered stands in status.lastAcceptedRevision. To accept the same revision again,
	// remove the annotation first, and set it anew.
	AnnotationAcceptRevision = "reanchor.dev/accept-revision"
	// AnnotationDevice is set on what is made for a device: its id as Git has it, which may be
	// no label's value.
	AnnotationDevice = "reanchor.dev/device"
	// AnnotationRenewal is set on a device's CertificateRequest: which of its requests that is,
	// "1" the first. The one with the highest number is the newest.
	AnnotationRenewal = "reanchor.dev/renewal"
	// AnnotationAsked is set on a device's CertificateRequest: the first 16 hexadecimal digits of
	// a SHA-256 of the issuer, duration and usages that it was made with, whatever a webhook
	// has made of them since.
	AnnotationAsked = "reanchor.dev/asked"
	// AnnotationSince is set on a device's CertificateRequest from the second on: when the
	// first of those that it follows was made, as RFC 3339 has it.
	AnnotationSince = "reanchor.dev/since"
	// AnnotationConfirmed is set on a device's newest CertificateRequest, or its Certificate,
	// by whoever has heard of the device, the registration endpoint say: what it was seen
	// to trust, when, and which certificate it showed, in JSON. See inventory.Confirmation.
	AnnotationConfirmed = "reanchor.dev/confirmed"
	// AnnotationIssuerGeneration is set on a canary: the issuer's generation that
	// it was sent through.
	AnnotationIssuerGeneration = "reanchor.dev/issuer-generation"
)

// Adopt is the value of [AnnotationAdopt] and of [AnnotationAdopted].
const Adopt = "true"

// OwnCAUnused is the value of [AnnotationOwnCA] that waives the check.
const OwnCAUnused = "Unused"
