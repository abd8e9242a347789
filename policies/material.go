package policies

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"iter"
	"regexp"
)

// material is key material that was found: where it begins, and what it is. Its
// content is never kept.
type material struct {
	offset int
	what   string
}

// maxEncodings is how deep base64 is looked into: a Secret of a kubeconfig of a
// key has three.
const maxEncodings = 3

// findMaterial finds the key material in a file or a string, in order.
func findMaterial(data []byte) []material { return findEncoded(data, maxEncodings) }

func findEncoded(data []byte, encodings int) []material {
	if what := container(data); what != "" {
		return []material{{0, what}}
	}
	found, bodies := headers(data)
	if encodings == 0 {
		return found
	}
	for start, run := range base64Runs(data) {
		if bodies[start] {
			continue
		}
		if inner := findEncoded(decodeRun(run), encodings-1); len(inner) > 0 {
			found = append(found, material{start, inner[0].what})
		}
	}
	return found
}

// header is the first line of a private key in PEM (RFC 7468, sections 10 and 11),
// of OpenSSH and PGP, which look the same, and of SSH2 (RFC 4716) with its four
// dashes.
var header = regexp.MustCompile(`-{4,5} ?BEGIN ([A-Z0-9]+ ){0,4}PRIVATE KEY( BLOCK)? ?-{4,5}`)

// headers finds private keys in PEM by their headers, and tells where the bodies
// below them begin, so that no key is found twice.
func headers(data []byte) (found []material, bodies map[int]bool) {
	if !bytes.Contains(data, []byte("PRIVATE KEY")) {
		return nil, nil
	}
	bodies = map[int]bool{}
	for _, at := range header.FindAllIndex(data, -1) {
		label := bytes.TrimPrefix(bytes.Trim(data[at[0]:at[1]], "- "), []byte("BEGIN "))
		found = append(found, material{at[0], string(label)})
		bodies[len(data)-len(bytes.TrimLeft(data[at[1]:], " \t\r\n"))] = true
	}
	return found, bodies
}

// What makes a run of base64: a line of it that is long enough for a key, and the
// lines that it is wrapped to.
const (
	minRun  = 24
	minLine = 4
)

// base64Runs are the runs of base64 in data, by where they start, line breaks and
// indentation included. (A regular expression would take most of a snapshot's time.)
func base64Runs(data []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for start := 0; start < len(data); {
			end := skipBase64(data, start)
			if end-start < minRun {
				start = end + 1
				continue
			}
			for next := skipLineBreak(data, end); next > end && skipBase64(data, next)-next >= minLine; next = skipLineBreak(data, end) {
				end = skipBase64(data, next)
			}
			if !yield(start, data[start:end]) {
				return
			}
			start = end + 1
		}
	}
}

var isBase64 = func() (digits [256]bool) {
	for _, digit := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		digits[digit] = true
	}
	return digits
}()

func skipBase64(data []byte, at int) int {
	for at < len(data) && isBase64[data[at]] {
		at++
	}
	return at
}

// skipLineBreak skips a line break with the blanks around it; it stays where it is
// if there is none.
func skipLineBreak(data []byte, at int) int {
	blank := at
	for blank < len(data) && (data[blank] == ' ' || data[blank] == '\t' || data[blank] == '\r') {
		blank++
	}
	if blank == len(data) || data[blank] != '\n' {
		return at
	}
	for blank++; blank < len(data) && (data[blank] == ' ' || data[blank] == '\t'); {
		blank++
	}
	return blank
}

// decodeRun decodes as much of a run as is base64: words that only happen to
// follow it end as garbage behind what counts.
func decodeRun(run []byte) []byte {
	digits := make([]byte, 0, len(run))
	for _, digit := range run {
		if isBase64[digit] {
			digits = append(digits, digit)
		}
	}
	decoded := make([]byte, base64.RawStdEncoding.DecodedLen(len(digits)))
	n, _ := base64.RawStdEncoding.Decode(decoded, digits)
	return decoded[:n]
}

// The first bytes of Java's keystores, their version left out.
var (
	jksMagic     = []byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0}
	jceksMagic   = []byte{0xce, 0xce, 0xce, 0xce, 0, 0, 0}
	opensshMagic = []byte("openssh-key-v1\x00")
)

// container names the binary form of key material that data begins with; empty if
// it is none. A keystore may hold certificates alone, but nobody can tell without
// its password.
func container(data []byte) string {
	switch {
	case bytes.HasPrefix(data, jksMagic):
		return "JKS keystore"
	case bytes.HasPrefix(data, jceksMagic):
		return "JCEKS keystore"
	case bytes.HasPrefix(data, opensshMagic):
		return "OPENSSH PRIVATE KEY"
	case isPKCS12(data):
		return "PKCS#12 keystore"
	}
	return privateKeyDER(data)
}

// pkcs7 is the beginning of the object identifiers of PKCS #7 (RFC 2315, section
// 14): the two that a PKCS #12 file may be made of end in 1, data, and 2, signed
// data (RFC 7292, section 4).
var pkcs7 = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07}

// isPKCS12 looks at the beginning alone: SEQUENCE, INTEGER 3, SEQUENCE and the
// object identifier. Java and Windows write lengths that DER does not allow.
func isPKCS12(data []byte) bool {
	inner, ok := bytes.CutPrefix(sequence(data), []byte{0x02, 0x01, 0x03})
	kind, found := bytes.CutPrefix(sequence(inner), pkcs7)
	return ok && found && len(kind) > 0 && (kind[0] == 1 || kind[0] == 2)
}

// sequence is what follows the tag and length of a SEQUENCE in BER, its end left
// open; nil if data is none (X.690, section 8.1).
func sequence(data []byte) []byte {
	if len(data) < 2 || data[0] != 0x30 {
		return nil
	}
	skip := 2
	if data[1] > 0x80 {
		skip += int(data[1] & 0x7f)
	}
	return data[min(skip, len(data)):]
}

// The shapes of private keys in DER: the tags of their first elements.
const (
	integer     = byte(asn1.TagInteger)
	octetString = byte(asn1.TagOctetString)
	nested      = byte(asn1.TagSequence)
)

// privateKeyDER names a private key without PEM around it; empty if data does not
// begin with one.
func privateKeyDER(data []byte) string {
	elements := elementsOf(data)
	switch shape := tagsOf(elements); {
	case bytes.HasPrefix(shape, []byte{integer, nested, octetString}) && small(elements[0]):
		return "PRIVATE KEY" // RFC 5958, section 2
	case bytes.HasPrefix(shape, []byte{integer, octetString}) && small(elements[0]):
		return "EC PRIVATE KEY" // RFC 5915, section 3
	case bytes.HasPrefix(shape, bytes.Repeat([]byte{integer}, 6)) && small(elements[0]):
		return "RSA PRIVATE KEY" // RFC 8017, appendix A.1.2; DSA looks alike
	case bytes.Equal(shape, []byte{nested, octetString}) && isEncryption(elements[0]):
		return "ENCRYPTED PRIVATE KEY" // RFC 5958, section 3
	}
	return ""
}

// small reports a version, 0 or 1.
func small(element asn1.RawValue) bool { return len(element.Bytes) == 1 && element.Bytes[0] <= 1 }

// The beginnings of the object identifiers of encryption by password: PKCS #5 (RFC
// 8018, appendix A.4) and PKCS #12 (RFC 7292, appendix C).
var (
	pkcs5  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5}
	pkcs12 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1}
)

func isEncryption(algorithm asn1.RawValue) bool {
	var found asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(algorithm.Bytes, &found); err != nil {
		return false
	}
	return len(found) > len(pkcs5) && found[:len(pkcs5)].Equal(pkcs5) ||
		len(found) > len(pkcs12) && found[:len(pkcs12)].Equal(pkcs12)
}

// maxElements is how many elements of a SEQUENCE tell a key's shape.
const maxElements = 9

// elementsOf are the first elements of the SEQUENCE that data begins with; what
// follows it does not matter.
func elementsOf(data []byte) []asn1.RawValue {
	var outer asn1.RawValue
	if len(data) == 0 || data[0] != 0x30 {
		return nil
	}
	if _, err := asn1.Unmarshal(data, &outer); err != nil {
		return nil
	}
	var elements []asn1.RawValue
	for rest := outer.Bytes; len(rest) > 0 && len(elements) < maxElements; {
		var element asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &element); err != nil {
			return nil
		}
		elements = append(elements, element)
	}
	return elements
}

// tagsOf are the universal tags of elements; 0 for those of another class.
func tagsOf(elements []asn1.RawValue) []byte {
	tags := make([]byte, len(elements))
	for i, element := range elements {
		if element.Class == asn1.ClassUniversal && element.Tag < 0x1f {
			tags[i] = byte(element.Tag)
		}
	}
	return tags
}
