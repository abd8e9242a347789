package v1alpha1

import "testing"

func TestValidateWavesAndWindows(t *testing.T) {
	inRollover := func(lines string) string { return rollingOver("  rollover:\n    skew: 5m\n" + lines) }
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"waves":               {inRollover("    waves: [1, 20, 100]\n"), nil},
		"one wave":            {inRollover("    waves: [100]\n"), nil},
		"left empty":          {inRollover("    waves: []\n    windows: ~\n"), nil},
		"ends early":          {inRollover("    waves: [1, 20]\n"), []string{`f.yaml:9: spec.rollover.waves: the last is 20, and the other leaves would never be reissued: end with 100`}},
		"no percent":          {inRollover("    waves: [0, 100]\n"), []string{`f.yaml:9: spec.rollover.waves[0]: 0 is no percent of the leaves: write 1 to 100`}},
		"more than all":       {inRollover("    waves: [100, 101]\n"), []string{`f.yaml:9: spec.rollover.waves[1]: 101 is no percent of the leaves: write 1 to 100`}},
		"does not rise":       {inRollover("    waves: [20, 20, 100]\n"), []string{`f.yaml:9: spec.rollover.waves[1]: 20 is not more than the 20 before it: each wave is counted with those before, so they rise`}},
		"windows":             {inRollover("    windows: [{cron: \"0 2 * * 6\", duration: 4h}, {cron: \"30 1-4/2 1,15 JAN-mar Mon-FRI\", duration: 1m, timeZone: Europe/Berlin}]\n"), nil},
		"four fields":         {inRollover("    windows: [{cron: \"0 2 * *\", duration: 4h}]\n"), []string{`f.yaml:9: spec.rollover.windows[0].cron: "0 2 * *" is not a cron of five fields (minute, hour, day of the month, month, day of the week, which is 0 to 6 from Sunday): expected exactly 5 fields, found 4: [0 2 * *]`}},
		"beyond the hour":     {inRollover("    windows: [{cron: \"60 2 * * *\", duration: 4h}]\n"), []string{`f.yaml:9: spec.rollover.windows[0].cron: "60 2 * * *" is not a cron of five fields (minute, hour, day of the month, month, day of the week, which is 0 to 6 from Sunday): end of range (60) above maximum (59): 60`}},
		"a nickname":          {inRollover("    windows: [{cron: \"@daily\", duration: 4h}]\n"), []string{`f.yaml:9: spec.rollover.windows[0].cron: "@daily" is not a cron of five fields (minute, hour, day of the month, month, day of the week, which is 0 to 6 from Sunday): parser does not accept descriptors: @daily`}},
		"a zone in it":        {inRollover("    windows: [{cron: TZ=Europe/Berlin, duration: 4h}]\n"), []string{`f.yaml:9: spec.rollover.windows[0].cron: holds a time zone: write that in timeZone`}},
		"never":               {inRollover("    windows: [{cron: 0 0 31 2 *, duration: 4h}]\n"), []string{`f.yaml:9: spec.rollover.windows[0].cron: "0 0 31 2 *" comes on no day of any year`}},
		"no time at all":      {inRollover("    windows: [{cron: 0 0 * * *, duration: 59s}]\n"), []string{`f.yaml:9: spec.rollover.windows[0].duration: 59s is shorter than 1m0s: too little is begun in that`}},
		"a zone that is none": {inRollover("    windows: [{cron: 0 0 * * *, duration: 1h, timeZone: Local}]\n"), []string{`f.yaml:9: spec.rollover.windows[0].timeZone: "Local" is no time zone of the IANA database: write one such as Europe/Berlin, or leave it out for UTC`}},
	} {
		t.Run(name, func(t *testing.T) {
			refusals(t, test.file, Site{Zones: zonesOf(t, "Europe/Berlin")}, test.want...)
		})
	}
}

// A zone that nobody has looked up is no zone: nothing waits for a window that cannot be told.
func TestValidateWithoutZones(t *testing.T) {
	refusals(t, rollingOver("  rollover: {windows: [{cron: 0 0 * * *, duration: 1h, timeZone: Europe/Berlin}, {cron: 0 0 * * *, duration: 1h, timeZone: UTC}]}\n"), Site{},
		`f.yaml:7: spec.rollover.windows[0].timeZone: "Europe/Berlin" is no time zone of the IANA database: write one such as Europe/Berlin, or leave it out for UTC`)
}

func TestValidateWarnsOfLeavesOutsideWindows(t *testing.T) {
	windows := "  rollover: {windows: [{cron: 0 0 * * *, duration: 1h}]}\n"
	file := documents(root+windows, under("quiet", "root", "cert-manager", "{name: a, state: Signing}", "  duration: 100h\n"),
		under("kept", "root", "cert-manager", "{name: a, state: Signing}", "  duration: 100h\n"+windows))
	decoded, err := Decode("f.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	invalid, warnings := Validate(decoded, Site{})
	want := `f.yaml:12: spec.rollover: Authority root, which issues it, has windows, and this one has none: its own leaves are reissued at any time; give it windows too`
	if len(invalid) > 0 || warnings.Error() != want {
		t.Errorf("errors:\n%s\nwarnings:\n%s\nwant\n%s", invalid, warnings, want)
	}
}

func TestValidateProbes(t *testing.T) {
	const field = "f.yaml:11: spec.probes"
	for probes, want := range map[string][]string{
		`{address: "broker.plant.svc:8883"}`: nil,
		`{name: a, address: "10.0.0.1:443", serverName: broker.plant.svc}, {name: b, address: "[fd00::1]:443"}`: nil,
		`{address: "broker.plant.svc"}`:                        {field + `[0].address: "broker.plant.svc" is not host:port: write a name or an IP address, which of IPv6 stands in brackets, and a port`},
		`{name: a, address: "broker:0"}`:                       {field + `[0].address: "broker:0" is not host:port: write a name or an IP address, which of IPv6 stands in brackets, and a port`},
		`{name: a, address: "fd00::1:443"}`:                    {field + `[0].address: "fd00::1:443" is not host:port: write a name or an IP address, which of IPv6 stands in brackets, and a port`},
		`{name: a, address: "http://broker:80"}`:               {field + `[0].address: "http://broker:80" is not host:port: write a name or an IP address, which of IPv6 stands in brackets, and a port`},
		`{name: A b, address: "broker:1"}`:                     {field + `[0].name: "A b" is not a name: ` + nameHint},
		`{name: a, address: "b:1"}, {name: a, address: "c:1"}`: {field + `[1].name: "a" is already spec.probes[0]: give each probe a name of its own`},
		`{address: "b:1"}, {address: "b:1"}`:                   {field + `[1].name: "b:1" is already spec.probes[0]: give each probe a name of its own`},
		`{address: "b:1", serverName: "b:1"}`:                  {field + `[0].serverName: "b:1" is neither a DNS name nor an IP address: write what the server's certificate is for`},
	} {
		t.Run(probes, func(t *testing.T) {
			refusals(t, documents(root, bundleOf("t", "authorities: [root], probes: ["+probes+"], "+toConfigMap)), Site{}, want...)
		})
	}
}

func TestProbesAreNamed(t *testing.T) {
	for _, test := range []struct{ given, want Probe }{
		{Probe{Address: "broker.plant.svc:8883"}, Probe{Name: "broker.plant.svc:8883", Address: "broker.plant.svc:8883", ServerName: "broker.plant.svc"}},
		{Probe{Address: "[fd00::1]:8883"}, Probe{Name: "[fd00::1]:8883", Address: "[fd00::1]:8883", ServerName: "fd00::1"}},
		{Probe{Name: "a", Address: "b:1", ServerName: "c"}, Probe{Name: "a", Address: "b:1", ServerName: "c"}},
	} {
		if test.given.Default(); test.given != test.want {
			t.Errorf("got %+v, want %+v", test.given, test.want)
		}
	}
}
