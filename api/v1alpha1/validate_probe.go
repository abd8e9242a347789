package v1alpha1

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Default fills in the probe's name, its address, and the name that its server must have,
// the address's host. [Decode] has done it already.
func (p *Probe) Default() {
	p.Name = cmp.Or(p.Name, p.Address)
	if host, _, is := splitAddress(p.Address); is {
		p.ServerName = cmp.Or(p.ServerName, host)
	}
}

func (v *validator) probes(document Document, probes []Probe) {
	named := map[string]string{}
	for i, probe := range probes {
		field := fmt.Sprintf("spec.probes[%d]", i)
		if _, _, is := splitAddress(probe.Address); !is {
			v.refuse(document, field+".address", "%s is not host:port: write a name or an IP address, which of IPv6 stands in brackets, and a port", quote(probe.Address))
		}
		if probe.Name != probe.Address && !isName(probe.Name) {
			v.refuse(document, field+".name", "%s is not a name: %s", quote(probe.Name), nameHint)
		}
		if probe.ServerName != "" && !isHost(probe.ServerName) {
			v.refuse(document, field+".serverName", "%s is neither a DNS name nor an IP address: write what the server's certificate is for", quote(probe.ServerName))
		}
		if earlier, taken := named[probe.Name]; taken {
			v.refuse(document, field+".name", "%s is already %s: give each probe a name of its own", quote(probe.Name), earlier)
		}
		named[probe.Name] = field
	}
}

// splitAddress tells host and port of an address.
func splitAddress(address string) (host string, port uint16, is bool) {
	if parsed, err := netip.ParseAddrPort(address); err == nil {
		return parsed.Addr().String(), parsed.Port(), parsed.Port() > 0 && parsed.Addr().Zone() == ""
	}
	at := strings.LastIndex(address, ":")
	if at < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(address[at+1:], 10, 16)
	host = address[:at]
	return host, uint16(number), err == nil && number > 0 && isHost(host) && !strings.Contains(host, ":")
}

// isHost reports whether a name is one of DNS (RFC 1123, section 2.1) or an IP address.
func isHost(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil || len(validation.IsDNS1123Subdomain(strings.ToLower(name))) == 0
}
