package gitsource

import (
	"net/url"

	"github.com/go-git/go-git/v5/plumbing"
)

// Remote is a branch of a repository and what is needed to reach it, to trust what
// it holds, and to write to it. Nothing that prints it shows the credentials.
type Remote struct {
	// URL of the repository: https://host/path, ssh://host/path, or file:///path
	// without host. The form user@host:path of SSH is taken for ssh://, its path
	// for one below the user's home, as git does. User information in a URL is
	// taken for Username and Password if these are empty.
	URL string
	// Branch that is pulled and pushed: "main", not "refs/heads/main".
	Branch string

	// Username and Password of basic authentication (RFC 7617) over https://; both
	// empty: none. Over ssh:// the Username is that of the account, "git" if empty,
	// and there is no Password.
	Username, Password string
	// BearerToken is sent as "Authorization: Bearer" (RFC 6750) over https://.
	BearerToken string
	// ClientCertificate, with intermediates if need be, and ClientKey, both PEM,
	// are what this side shows in the TLS handshake of https://.
	ClientCertificate, ClientKey []byte
	// GitHubApp is the App as whose installation to come over https://.
	GitHubApp *GitHubApp
	// CA holds the certificates, PEM, that an https:// server is verified with, in
	// place of the system's; empty: the system's.
	CA []byte

	// SSHKey is the private key for ssh://, PEM: OpenSSH's form, PKCS #1, PKCS #8
	// or SEC 1. SSHPassphrase opens it, if it is encrypted.
	SSHKey        []byte
	SSHPassphrase string
	// KnownHosts are the host keys that an ssh:// server may show, in OpenSSH's
	// format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), hashed names included. Without
	// them there is no ssh://.
	KnownHosts []byte

	// Proxy on the way to the server. Without one the environment decides:
	// HTTPS_PROXY and NO_PROXY over https://, ALL_PROXY and NO_PROXY over ssh://.
	Proxy Proxy

	// Verify, where set, hands out no commit that is not signed by one of its keys.
	Verify *Verification
	// SigningKey, where set, signs the commits that are pushed.
	SigningKey *SigningKey

	// Limits on what is taken from the remote.
	Limits Limits
	// Storage is the folder below which a program keeps its copies, those of other
	// remotes and of other users among them: no file:// URL leads into it, by whatever
	// symbolic links, nor to a folder above it. The folder that is given to [Open] is
	// closed to them in any case. Empty: that folder alone.
	Storage string

	// What normalise makes of the fields above.
	belowHome bool
	app       *installation
	keys      *keyring
	signer    commitSigner
}

// Limits bound what a repository may take of memory and disk. A zero stands for
// the default.
type Limits struct {
	// File is the size, in bytes, of the largest file that is read or pushed.
	// Larger ones may lie in the repository; only to open them is an error.
	// Default 8 MiB.
	File int64
	// Object is the size, in bytes, of the largest file or folder that the
	// repository may hold at all: each one is in memory for a moment when it is
	// fetched. Default 64 MiB.
	Object int64
	// Fetch is how many bytes, compressed, one fetch may bring. Default 1 GiB.
	Fetch int64
	// Objects is how many files and folders a commit may have, and how many
	// objects one fetch may bring. Default 1,000,000.
	Objects int
}

func (l Limits) orDefaults() Limits {
	const mebibyte = 1 << 20
	if l.File <= 0 {
		l.File = 8 * mebibyte
	}
	if l.Object <= 0 {
		l.Object = 64 * mebibyte
	}
	if l.Fetch <= 0 {
		l.Fetch = 1024 * mebibyte
	}
	if l.Objects <= 0 {
		l.Objects = 1_000_000
	}
	return l
}

// String is the branch and the URL, without credentials: "main of
// https://git.example/pki.git".
func (r Remote) String() string { return r.Branch + " of " + r.address() }

// GoString is String, so that no format prints a password.
func (r Remote) GoString() string { return r.String() }

// MarshalText is String, so that no logger prints a password.
func (r Remote) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// address is the URL without user information, query and fragment, any of which
// may hold a token.
func (r Remote) address() string {
	parsed, _, err := parseURL(r.URL)
	if err != nil {
		return "(a URL that cannot be read)"
	}
	return (&url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path}).String()
}

// normalise checks the remote, moves user information out of its URLs, reads its
// keys and fills in the defaults.
func (r Remote) normalise() (Remote, error) {
	parsed, belowHome, err := parseURL(r.URL)
	if err != nil {
		return r, err
	}
	if err := checkURL(parsed); err != nil {
		return r, err
	}
	if err := checkBranch(r.Branch); err != nil {
		return r, err
	}
	if parsed.User != nil && r.Username == "" && r.Password == "" {
		r.Username = parsed.User.Username()
		r.Password, _ = parsed.User.Password()
	}
	r.URL, r.belowHome = plainURL(parsed), belowHome
	r.Limits = r.Limits.orDefaults()
	if r.Proxy, err = r.Proxy.normalise(); err != nil {
		return r, err
	}
	if err := r.checkCredentials(parsed.Scheme); err != nil {
		return r, err
	}
	if parsed.Scheme == "ssh" && r.Username == "" {
		r.Username = defaultSSHUser
	}
	return r.withKeys(parsed)
}

// withKeys reads the keys of the App, and those that verify and sign commits.
func (r Remote) withKeys(address *url.URL) (Remote, error) {
	var err error
	if r.GitHubApp != nil {
		if r.app, err = newInstallation(*r.GitHubApp, address); err != nil {
			return r, err
		}
	}
	if r.Verify != nil {
		if r.keys, err = r.Verify.keyring(); err != nil {
			return r, err
		}
	}
	if r.SigningKey != nil {
		r.signer, err = r.SigningKey.signer()
	}
	return r, err
}

func (r Remote) reference() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(r.Branch) }
