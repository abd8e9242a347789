package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TrustDomain is one repository's PKI in this cluster: where it is declared, how
// often it is looked at, as whom it is written, and how far it has come.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=td,categories=reanchor
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.lastAppliedRevision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TrustDomain struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TrustDomainSpec `json:"spec"`
	// +kubebuilder:default={observedGeneration:-1}
	Status TrustDomainStatus `json:"status,omitempty"`
}

// TrustDomainList is a list of TrustDomains.
//
// +kubebuilder:object:root=true
type TrustDomainList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TrustDomain `json:"items"`
}

// TrustDomainSpec says where the domain is declared and how it is reconciled.
//
// +kubebuilder:validation:XValidation:rule="duration(self.interval) >= duration('1s')",message="interval must be at least 1s"
// +kubebuilder:validation:XValidation:rule="!has(self.retryInterval) || duration(self.retryInterval) >= duration('1s')",message="retryInterval must be at least 1s"
// +kubebuilder:validation:XValidation:rule="duration(self.timeout) >= duration('1s')",message="timeout must be at least 1s"
type TrustDomainSpec struct {
	// Interval between two looks at the repository and the cluster.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +kubebuilder:default="1m"
	// +optional
	Interval metav1.Duration `json:"interval,omitempty"`
	// RetryInterval after a turn that failed.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +kubebuilder:default="1m"
	// +optional
	RetryInterval *metav1.Duration `json:"retryInterval,omitempty"`
	// Timeout of one turn, half of which its pull may take.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +kubebuilder:default="5m"
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// Source is the repository.
	Source Source `json:"source"`
	// WriteBack says how the program itself writes to Git.
	// +kubebuilder:default={mode: "Enabled"}
	// +optional
	WriteBack WriteBack `json:"writeBack,omitempty"`
	// Webhook lets the repository's server ask for a turn when somebody has pushed.
	// +optional
	Webhook *Webhook `json:"webhook,omitempty"`
	// Prune deletes what is gone from the repository.
	// +kubebuilder:default=true
	// +optional
	Prune bool `json:"prune"`
	// ServiceAccountName of a service account in the TrustDomain's namespace, as which
	// everything is written to the cluster. When absent: the one that the controller's flag
	// --default-service-account names, or, without that, the controller's own.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// PlanTrailer says what becomes of the trailer Reanchor-Plan of a commit, by which it
	// names the plan that it was merged for.
	// +kubebuilder:default=Honoured
	// +optional
	PlanTrailer PlanTrailer `json:"planTrailer,omitempty"`
	// Suspend stops the domain's turns.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// PlanTrailer says whether a commit is held to the plan that it was merged for.
// +kubebuilder:validation:Enum=Honoured;Required;Ignored
type PlanTrailer string

// What may become of the trailer Reanchor-Plan.
const (
	// PlanTrailerHonoured holds a commit that has it to it.
	PlanTrailerHonoured PlanTrailer = "Honoured"
	// PlanTrailerRequired also refuses a commit that changes the documents without it.
	PlanTrailerRequired PlanTrailer = "Required"
	// PlanTrailerIgnored asks nothing of a commit.
	PlanTrailerIgnored PlanTrailer = "Ignored"
)

// Source is a branch of a Git repository and a folder in it.
//
// +kubebuilder:validation:XValidation:rule="!self.url.startsWith('file://') || !has(self.secretRef) && !has(self.certSecretRef) && !has(self.proxySecretRef)",message="a repository at file:// is read from the disk: take secretRef, certSecretRef and proxySecretRef out"
// +kubebuilder:validation:XValidation:rule="!self.url.startsWith('ssh://') || has(self.secretRef)",message="a repository at ssh:// needs secretRef, with identity and known_hosts"
// +kubebuilder:validation:XValidation:rule="!self.url.startsWith('ssh://') || !has(self.certSecretRef)",message="certSecretRef is for https://, and url is ssh://: take it out, and put the server's host keys under known_hosts in secretRef"
type Source struct {
	// URL of the repository: https://, ssh:// or file://, without a password.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[^/]*@') && !self.matches('^ssh://[^/]*:[^/]*@')",message="url must not hold credentials: use secretRef"
	// +kubebuilder:validation:Pattern="^(https|ssh|file)://.+$"
	URL string `json:"url"`
	// Ref picks what is read.
	// +kubebuilder:default={branch: "main"}
	// +optional
	Ref Reference `json:"ref,omitempty"`
	// Path of the domain's folder in the repository; its root when absent.
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="path must be relative and stay inside the repository"
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Path string `json:"path,omitempty"`
	// SecretRef names a Secret in the TrustDomain's namespace with the credentials, in
	// Flux's keys. Over HTTPS: username and password, or bearerToken, or githubAppID,
	// githubAppInstallationID, githubAppPrivateKey and, for a server of one's own,
	// githubAppBaseURL. Over SSH: identity, password for its passphrase if it has one, and
	// known_hosts.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// CertSecretRef names a Secret in the TrustDomain's namespace whose ca.crt holds the
	// CAs that the Git server is verified with, in place of the system's, and whose tls.crt
	// and tls.key, if there, are the client certificate that it asks for.
	// +optional
	CertSecretRef *LocalReference `json:"certSecretRef,omitempty"`
	// ProxySecretRef names a Secret in the TrustDomain's namespace with the address of a
	// proxy to reach the Git server through, and username and password if it asks for them.
	// +optional
	ProxySecretRef *LocalReference `json:"proxySecretRef,omitempty"`
	// Verify says by whom the commit at the branch's head must be signed.
	// +optional
	Verify *Verification `json:"verify,omitempty"`
}

// Verification says by whom commits must be signed.
type Verification struct {
	// Mode is HEAD: the commit at the branch's head.
	// +kubebuilder:validation:Enum=HEAD
	// +kubebuilder:default=HEAD
	// +optional
	Mode string `json:"mode,omitempty"`
	// SecretRef names a Secret in the TrustDomain's namespace with the public keys: armoured
	// OpenPGP keys under names that end in .asc, lines as in an allowed_signers file (or in
	// authorized_keys) under names that end in .pub or are allowed_signers.
	SecretRef LocalReference `json:"secretRef"`
}

// Reference picks a revision of a repository.
type Reference struct {
	// Branch that is read.
	// +kubebuilder:default=main
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('refs/')",message="branch must be a name such as main, not refs/heads/main"
	// +optional
	Branch string `json:"branch,omitempty"`
}

// LocalReference names an object in the same namespace.
type LocalReference struct {
	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// WriteBackMode says whether the program writes to Git.
// +kubebuilder:validation:Enum=Enabled;Disabled
type WriteBackMode string

// The modes of writing back.
const (
	// WriteBackEnabled records in Git the certificate of every key that came to be.
	WriteBackEnabled WriteBackMode = "Enabled"
	// WriteBackDisabled leaves the repository as it is: no record of anchors is kept
	// there, so that a restored or swapped cluster is recognised by its bundles alone.
	WriteBackDisabled WriteBackMode = "Disabled"
)

// WriteBack says how the program itself writes to Git: the record of anchors, in
// the folder anchors below spec.source.path.
type WriteBack struct {
	// Mode is Enabled or Disabled.
	// +kubebuilder:default=Enabled
	// +optional
	Mode WriteBackMode `json:"mode,omitempty"`
	// Branch that is written to; it must exist. The source's branch when absent. From
	// another branch only the record is read.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('refs/')",message="branch must be a name such as main, not refs/heads/main"
	// +optional
	Branch string `json:"branch,omitempty"`
	// Author of the commits.
	// +kubebuilder:default={}
	// +optional
	Author CommitAuthor `json:"author,omitempty"`
	// Committer of the commits; the author when absent.
	// +optional
	Committer *CommitAuthor `json:"committer,omitempty"`
	// MessageTemplate of the commits in which devices register, as Go's text/template has
	// it. It is given .Count, .Edits (each with .Path and .Subject, 100 at most), .More and
	// .Branch. When absent: what happens to the only device, or a list.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	MessageTemplate string `json:"messageTemplate,omitempty"`
	// SigningKey that the commits are signed with. Where spec.source.verify asks for
	// signatures, and the record lies on the same branch, it must be one of those.
	// +optional
	SigningKey *SigningKey `json:"signingKey,omitempty"`
}

// SigningKey is the key that commits are signed with.
type SigningKey struct {
	// SecretRef names a Secret in the TrustDomain's namespace with an armoured OpenPGP
	// private key under git.asc, or an SSH private key under identity, and its passphrase,
	// if it has one, under passphrase.
	SecretRef LocalReference `json:"secretRef"`
}

// WebhookType is how a server signs what it sends.
// +kubebuilder:validation:Enum=GitHub;GitLab;Gitea;Generic
type WebhookType string

// The types of webhook.
const (
	// WebhookGitHub signs with the header X-Hub-Signature-256.
	WebhookGitHub WebhookType = "GitHub"
	// WebhookGitLab sends the token itself in the header X-Gitlab-Token.
	WebhookGitLab WebhookType = "GitLab"
	// WebhookGitea signs with the header X-Gitea-Signature or, as Forgejo,
	// X-Hub-Signature-256.
	WebhookGitea WebhookType = "Gitea"
	// WebhookGeneric is whatever signs with the header X-Signature: sha256=….
	WebhookGeneric WebhookType = "Generic"
)

// Webhook is a push webhook, which the controller receives at
// /hook/<namespace>/<name> of the TrustDomain.
type Webhook struct {
	// Type is GitHub, GitLab, Gitea (Forgejo too) or Generic.
	Type WebhookType `json:"type"`
	// SecretRef names a Secret in the TrustDomain's namespace that holds, under token, what
	// the server signs with, or sends.
	SecretRef LocalReference `json:"secretRef"`
}

// CommitAuthor is who commits are by.
type CommitAuthor struct {
	// Name in the commits.
	// +kubebuilder:default=reanchor
	// +kubebuilder:validation:Pattern="^[^<>\\n\\r]+$"
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Name string `json:"name,omitempty"`
	// Email in the commits.
	// +kubebuilder:default=noreply@reanchor.dev
	// +kubebuilder:validation:Pattern="^[^<>\\n\\r ]+$"
	// +kubebuilder:validation:MaxLength=254
	// +optional
	Email string `json:"email,omitempty"`
}

// TrustDomainStatus says how far the domain has come. Nothing in it grows with
// the fleet.
type TrustDomainStatus struct {
	// Conditions Ready, Reconciling and Stalled, as kstatus reads them.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// ObservedGeneration is the spec's generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// LastHandledReconcileAt is the last value of the annotation
	// reconcile.fluxcd.io/requestedAt that a turn answered.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
	// LastAttemptedRevision is the revision of the last turn, as in main@sha1:….
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`
	// LastAttemptedSource is the repository that LastAttemptedRevision and
	// LastRecordRevision were read from: the SHA-256 of its URL, in lower-case hex. Of
	// another repository's branches they say nothing.
	// +optional
	LastAttemptedSource string `json:"lastAttemptedSource,omitempty"`
	// LastRecordRevision is the head of spec.writeBack.branch that was read last, where
	// that is another branch than the source's.
	// +optional
	LastRecordRevision string `json:"lastRecordRevision,omitempty"`
	// LastAcceptedRevision is the value of the annotation reanchor.dev/accept-revision that
	// a turn has answered: it accepts nothing any more until it is removed or another.
	// +optional
	LastAcceptedRevision string `json:"lastAcceptedRevision,omitempty"`
	// LastAppliedRevision is the last revision whose target was applied.
	// +optional
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`
	// Signer of the commit of the last attempted revision, where spec.source.verify asks
	// for signatures.
	// +optional
	Signer string `json:"signer,omitempty"`
	// Rollovers that are under way or waiting, one for each authority.
	// +listType=map
	// +listMapKey=authority
	// +optional
	Rollovers []RolloverStatus `json:"rollovers,omitempty"`
	// Holds that are no single authority's say what is waited for, with evidence:
	// the first ten.
	// +listType=atomic
	// +optional
	Holds []string `json:"holds,omitempty"`
	// Gates is the planner's only memory: since when a condition that must have
	// held for a while has been seen to hold. Losing it restarts a soak.
	// +listType=map
	// +listMapKey=name
	// +optional
	Gates []Gate `json:"gates,omitempty"`
	// Plan that the documents in force were let in by.
	// +optional
	Plan *LetInPlan `json:"plan,omitempty"`
	// Devices counts those that Git lists, where it declares a DeviceGroup.
	// +optional
	Devices *DeviceCounts `json:"devices,omitempty"`
	// Kinds that the domain has applied, as group/version/Kind, where prune looks
	// for what is gone.
	// +listType=set
	// +optional
	Kinds []string `json:"kinds,omitempty"`
}

// DeviceCounts says how many devices there are, by what Git says of them and by where their
// certificates stand.
type DeviceCounts struct {
	// Active, Blocked and Retired are how many Git lists so.
	Active  int `json:"active"`
	Blocked int `json:"blocked"`
	Retired int `json:"retired"`
	// Issued are the active devices that have a certificate of the key that shall sign for
	// them, Pending those that cert-manager has yet to answer, Waiting those for which no
	// key may sign yet, and Failed those that were refused.
	Issued  int `json:"issued"`
	Pending int `json:"pending"`
	Waiting int `json:"waiting"`
	Failed  int `json:"failed"`
	// Unusable counts what is wrong with files of devices: those are left as they are.
	Unusable int `json:"unusable"`
	// Problems are the first ten of those that failed or are unusable, each with what to do.
	// +listType=atomic
	// +optional
	Problems []string `json:"problems,omitempty"`
}

// LetInPlan is what documents were let in by.
type LetInPlan struct {
	// Documents is "sha256:…" over the documents as they were composed: the head digest of
	// their plan.
	Documents string `json:"documents"`
	// Digest is the plan's, "sha256:…", as their commit names it in its trailer
	// Reanchor-Plan; absent where it names none, or is not held to it.
	// +optional
	Digest string `json:"digest,omitempty"`
}

// RolloverStatus is one authority's way to its next key.
type RolloverStatus struct {
	// Authority as namespace/name.
	Authority string `json:"authority"`
	// From is the key that signs now; absent before the first.
	// +optional
	From string `json:"from,omitempty"`
	// To is the key that shall sign.
	To string `json:"to"`
	// Phase the rollover is in: Introduce, Distribute, Switch, Reissue, Retire,
	// or Settled.
	Phase string `json:"phase"`
	// Since when it has been in that phase.
	Since metav1.Time `json:"since"`
	// Progress in the phase's own words, "2 of 3 copies hold 2026" say.
	// +optional
	Progress string `json:"progress,omitempty"`
	// Holds say why it does not move, with evidence: the first ten.
	// +optional
	Holds []string `json:"holds,omitempty"`
}

// Gate is a condition and the time since when it has been seen to hold.
type Gate struct {
	// Name of the gate.
	Name string `json:"name"`
	// Since when it has been seen to hold.
	Since metav1.Time `json:"since"`
}

// GetConditions returns the conditions, for fluxcd/pkg/runtime.
func (d *TrustDomain) GetConditions() []metav1.Condition { return d.Status.Conditions }

// SetConditions replaces the conditions, for fluxcd/pkg/runtime.
func (d *TrustDomain) SetConditions(conditions []metav1.Condition) {
	d.Status.Conditions = conditions
}
