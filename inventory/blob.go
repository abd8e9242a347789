package inventory

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
)

// BlobHash is how Git names what a file holds, in 40 lower-case hex digits (git
// hash-object): by it a file on a disk is known to be one that was read from Git.
func BlobHash(content []byte) string {
	sum := sha1.New()
	_, _ = fmt.Fprintf(sum, "blob %d\x00", len(content)) // a hash takes all that it is given
	_, _ = sum.Write(content)
	return hex.EncodeToString(sum.Sum(nil))
}
