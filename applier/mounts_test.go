package applier

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

func TestUses(t *testing.T) {
	spec := decode[corev1.PodSpec](t, `
initContainers:
- {name: init, env: [{name: A, valueFrom: {configMapKeyRef: {name: env-map, key: k}}}, {name: B, value: x}, {name: C, valueFrom: {secretKeyRef: {name: env-secret, key: k}}}]}
containers:
- {name: one, volumeMounts: [{name: plain, mountPath: /a}, {name: both, mountPath: /b}, {name: expr, mountPath: /c, subPathExpr: $(X)}]}
- {name: two, envFrom: [{configMapRef: {name: from-map}}, {secretRef: {name: from-secret}}], volumeMounts: [{name: both, mountPath: /b, subPath: ca.crt}]}
volumes:
- {name: plain, configMap: {name: plain-map}}
- {name: both, secret: {secretName: both-secret}}
- {name: expr, projected: {sources: [{configMap: {name: projected-map}}, {secret: {name: projected-secret}}, {serviceAccountToken: {path: t}}]}}
- {name: declared, configMap: {name: declared-map}}
- {name: scratch, emptyDir: {}}
`)
	want := sighting{
		{source{false, "env-map"}, planner.MountEnv}:             planner.OwnCAHidden,
		{source{true, "env-secret"}, planner.MountEnv}:           planner.OwnCAHidden,
		{source{false, "from-map"}, planner.MountEnv}:            planner.OwnCAHidden,
		{source{true, "from-secret"}, planner.MountEnv}:          planner.OwnCAVisible,
		{source{false, "plain-map"}, planner.MountVolume}:        planner.OwnCAHidden,
		{source{true, "both-secret"}, planner.MountVolume}:       planner.OwnCAVisible,
		{source{true, "both-secret"}, planner.MountSubPath}:      planner.OwnCANamed,
		{source{false, "projected-map"}, planner.MountSubPath}:   planner.OwnCAHidden,
		{source{true, "projected-secret"}, planner.MountSubPath}: planner.OwnCAVisible,
		{source{false, "declared-map"}, planner.MountVolume}:     planner.OwnCAHidden,
	}
	if got := uses(spec); !reflect.DeepEqual(got, want) {
		t.Fatalf("uses %v\nwant %v", got, want)
	}
}

// TestOwnCA has pods that get the Secret tls, some in several ways.
func TestOwnCA(t *testing.T) {
	const (
		whole     = `volumes: [{name: v, secret: {secretName: tls}}]`
		projected = `volumes: [{name: v, projected: {sources: [{configMap: {name: trust}}, {secret: {name: tls}}]}}]`
		pair      = `items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]`
		at        = `volumeMounts: [{name: v, mountPath: /etc/tls}]`
	)
	cases := map[string]struct {
		spec string
		want []string // "<kind> <what is shown>", in order of their kinds
	}{
		"mounted whole":                    {`containers: [{name: c, ` + at + `}], ` + whole, []string{"volume Visible"}},
		"mounted whole by a projection":    {`containers: [{name: c, ` + at + `}], ` + projected, []string{"volume Visible"}},
		"mounted by nobody":                {`containers: [{name: c}], ` + whole, []string{"volume Visible"}},
		"mounted by an init container":     {`initContainers: [{name: i, ` + at + `}], containers: [{name: c}], ` + whole, []string{"volume Visible"}},
		"items with it":                    {`containers: [{name: c, ` + at + `}], volumes: [{name: v, secret: {secretName: tls, items: [{key: ca.crt, path: root.pem}]}}]`, []string{"volume Named"}},
		"items with it, mounted by nobody": {`containers: [{name: c}], volumes: [{name: v, secret: {secretName: tls, items: [{key: ca.crt, path: ca.crt}]}}]`, []string{"volume Named"}},
		"items without it":                 {`containers: [{name: c, args: [/etc/tls/ca.crt], ` + at + `}], volumes: [{name: v, secret: {secretName: tls, ` + pair + `}}]`, []string{"volume "}},
		"projected items with it":          {`containers: [{name: c, ` + at + `}], volumes: [{name: v, projected: {sources: [{secret: {name: tls, items: [{key: ca.crt, path: a/ca.crt}]}}]}}]`, []string{"volume Named"}},
		"projected items without it, and a bundle of that name": {
			`containers: [{name: c, args: [--ca=/etc/tls/ca.crt], ` + at + `}], volumes: [{name: v, projected: {sources: [{secret: {name: tls, ` + pair + `}}, {configMap: {name: trust}}]}}]`,
			[]string{"volume "},
		},
		"subPath":                      {`containers: [{name: c, volumeMounts: [{name: v, mountPath: /etc/ca.pem, subPath: ca.crt}]}], ` + whole, []string{"subPath Named"}},
		"subPath, uncleaned":           {`containers: [{name: c, volumeMounts: [{name: v, mountPath: /etc/ca.pem, subPath: ./ca.crt}]}], ` + whole, []string{"subPath Named"}},
		"subPath of all":               {`containers: [{name: c, volumeMounts: [{name: v, mountPath: /etc/tls, subPath: .}]}], ` + whole, []string{"subPath Visible"}},
		"subPath of another key":       {`containers: [{name: c, volumeMounts: [{name: v, mountPath: /etc/tls/ca.crt, subPath: tls.crt}], args: [/etc/tls/ca.crt]}], ` + whole, []string{"subPath "}},
		"subPathExpr":                  {`containers: [{name: c, volumeMounts: [{name: v, mountPath: /etc/ca.pem, subPathExpr: ca.crt}]}], ` + whole, []string{"subPath Named"}},
		"subPathExpr with a variable":  {`containers: [{name: c, volumeMounts: [{name: v, mountPath: /etc/ca.pem, subPathExpr: $(FILE)}]}], ` + whole, []string{"subPath Visible"}},
		"subPathExpr of another key":   {`containers: [{name: c, volumeMounts: [{name: v, mountPath: /etc/tls.pem, subPathExpr: tls.crt}]}], ` + whole, []string{"subPath "}},
		"a variable of it":             {`containers: [{name: c, env: [{name: CA, valueFrom: {secretKeyRef: {name: tls, key: ca.crt, optional: true}}}]}]`, []string{"env Named"}},
		"a variable of another key":    {`containers: [{name: c, env: [{name: CRT, valueFrom: {secretKeyRef: {name: tls, key: tls.crt}}}]}]`, []string{"env "}},
		"all its keys as variables":    {`containers: [{name: c, envFrom: [{secretRef: {name: tls}}]}]`, []string{"env Visible"}},
		"a command":                    {`containers: [{name: c, command: [mosquitto, --cafile, /etc/tls/ca.crt], ` + at + `}], ` + whole, []string{"volume Named"}},
		"an argument":                  {`containers: [{name: c, args: ["--trust=/etc/tls/ca.crt"], ` + at + `}], ` + whole, []string{"volume Named"}},
		"an argument of a shell":       {`initContainers: [{name: i, command: [sh, -c], args: ["curl --cacert '/etc/tls/ca.crt' https://x"], ` + at + `}], containers: [{name: c}], ` + whole, []string{"volume Named"}},
		"a variable":                   {`containers: [{name: c, env: [{name: SSL_CERT_FILE, value: /etc/tls/ca.crt}], ` + at + `}], ` + whole, []string{"volume Named"}},
		"a liveness probe":             {`containers: [{name: c, livenessProbe: {exec: {command: [ping, /etc/tls/ca.crt]}}, ` + at + `}], ` + whole, []string{"volume Named"}},
		"a readiness probe":            {`containers: [{name: c, readinessProbe: {exec: {command: [ping, /etc/tls/ca.crt]}}, ` + at + `}], ` + whole, []string{"volume Named"}},
		"a startup probe":              {`containers: [{name: c, startupProbe: {exec: {command: [ping, /etc/tls/ca.crt]}}, ` + at + `}], ` + whole, []string{"volume Named"}},
		"a probe without a command":    {`containers: [{name: c, livenessProbe: {httpGet: {path: /etc/tls/ca.crt, port: 80}}, ` + at + `}], ` + whole, []string{"volume Visible"}},
		"a hook":                       {`containers: [{name: c, lifecycle: {postStart: {httpGet: {port: 80}}, preStop: {exec: {command: [leave, /etc/tls/ca.crt]}}}, ` + at + `}], ` + whole, []string{"volume Named"}},
		"by a projection":              {`containers: [{name: c, args: [/etc/tls/ca.crt], ` + at + `}], ` + projected, []string{"volume Named"}},
		"below an uncleaned mountPath": {`containers: [{name: c, args: [/etc/tls/ca.crt], volumeMounts: [{name: v, mountPath: /etc//tls/}]}], ` + whole, []string{"volume Named"}},
		"the path of a container that mounts it elsewhere": {
			`containers: [{name: c, args: [/etc/tls/ca.crt]}, {name: d, volumeMounts: [{name: v, mountPath: /srv}]}], ` + whole,
			[]string{"volume Visible"},
		},
		"several ways of one kind: the most counts": {
			`containers: [{name: c, ` + at + `}, {name: d, args: [/srv/ca.crt], volumeMounts: [{name: v, mountPath: /srv}]}, {name: e, volumeMounts: [{name: w, mountPath: /w}]}],
			 volumes: [{name: v, secret: {secretName: tls}}, {name: w, secret: {secretName: tls, ` + pair + `}}]`,
			[]string{"volume Named"},
		},
		"several kinds: each by itself": {
			`containers: [{name: c, ` + at + `, env: [{name: CA, valueFrom: {secretKeyRef: {name: tls, key: ca.crt}}}], envFrom: [{secretRef: {name: tls}}]},
			 {name: d, volumeMounts: [{name: v, mountPath: /tls.crt, subPath: tls.crt}]}], ` + whole,
			[]string{"env Named", "subPath ", "volume Visible"},
		},
	}
	secrets := map[planner.Ref]bool{{Namespace: "plant", Name: "tls"}: true}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := runner{ref: planner.Ref{Namespace: "plant", Name: "broker"}, spec: decode[corev1.PodSpec](t, "{"+c.spec+"}")}
			bundles, mounts := r.mounts(interests{bundles: map[string]bool{"trust": true}, leaves: secrets})
			var got []string
			for _, mount := range mounts {
				got = append(got, fmt.Sprintf("%s %s", mount.Kind, mount.OwnCA))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the Secret is seen as %q, want %q", got, c.want)
			}
			if slices.ContainsFunc(bundles, func(m planner.Mount) bool { return m.OwnCA != "" }) {
				t.Errorf("a bundle shows a Secret's ca.crt: %+v", bundles)
			}
		})
	}
}

func TestNamesPath(t *testing.T) {
	const file = "/etc/tls/ca.crt"
	texts := map[string]bool{
		"/etc/tls/ca.crt":                           true,
		"--trust=/etc/tls/ca.crt":                   true,
		"-I/etc/tls/ca.crt":                         true,
		"/etc/tls/ca.crt:/etc/other/ca.crt":         true,
		"/etc/other/ca.crt:/etc/tls/ca.crt":         true,
		`{"ca":"/etc/tls/ca.crt"}`:                  true,
		"file:///etc/tls/ca.crt":                    true,
		"/etc//tls/././/ca.crt":                     true,
		"cp /etc/tls/ca.crt.bak /etc/tls/ca.crt":    true,
		"cat /etc/tls/ca.crt;":                      true,
		"cat\n/etc/tls/ca.crt\n":                    true,
		"–/etc/tls/ca.crt–":                         true,
		"":                                          false,
		"/etc/tls":                                  false,
		"/etc/tls/tls.crt":                          false,
		"/etc/tls/ca.crt.bak":                       false,
		"/etc/tls/ca.crts":                          false,
		"/etc/tls/ca.crt-old":                       false,
		"/etc/tls/ca.crt/x":                         false,
		"--trust=/opt/etc/tls/ca.crt":               false,
		"https://example.com/etc/tls/ca.crt":        false,
		"/opt/etc/tls/ca.crt /etc/tls/ca.crt.bak.1": false,
		"etc/tls/ca.crt":                            false,
	}
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		if got := namesPath(text, file); got != texts[text] {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestOwnCAUnused(t *testing.T) {
	const template = `template: {metadata: {annotations: {%s}}, spec: {containers: [{name: c}], volumes: [{name: t, configMap: {name: trust}}]}}`
	for name, c := range map[string]struct {
		on, onTemplate string
		want           bool
	}{
		"nothing":             {"", "", false},
		"on the workload":     {"reanchor.dev/own-ca: Unused", "", true},
		"on its pod template": {"", "reanchor.dev/own-ca: Unused", true},
		"against another":     {"reanchor.dev/own-ca: Unused", "reanchor.dev/own-ca: Used", true},
		"another word":        {"reanchor.dev/own-ca: unused", `reanchor.dev/own-ca: "true"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			deployment := decode[appsv1.Deployment](t, fmt.Sprintf(`{metadata: {namespace: a, name: web, annotations: {%s}}, spec: {`+template+`}}`, c.on, c.onTemplate))
			got := observe(t, desiredFleet(), nil, deployment).Workloads
			if len(got) != 1 || got[0].OwnCAUnused != c.want {
				t.Fatalf("workloads %+v", got)
			}
		})
	}
}

// A Secret that a bundle is copied to is what a workload verifies with, not what it
// presents; unless it is a leaf's Secret that happens to have the name.
func TestBundlesInSecretsAreMounted(t *testing.T) {
	const spec = `{containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /w, subPath: ca.crt}, {name: p, mountPath: /p}],
	    env: [{name: CA, valueFrom: {secretKeyRef: {name: trust, key: ca.crt}}}]}],
	  volumes: [{name: v, secret: {secretName: trust, items: [{key: trust.jks, path: t}]}}, {name: p, projected: {sources: [{secret: {name: trust}}, {configMap: {name: trust}}]}}]}`
	whole := []planner.Mount{{Name: "trust", Kind: planner.MountEnv}, {Name: "trust", Kind: planner.MountSubPath}, {Name: "trust", Kind: planner.MountVolume}}
	ofConfigMap := whole[2:]
	for name, c := range map[string]struct {
		interesting     interests
		bundles, leaves []planner.Mount
	}{
		"a bundle in ConfigMaps and Secrets": {interests{bundles: map[string]bool{"trust": true}, bundleSecrets: map[string]bool{"trust": true}}, whole, nil},
		"a bundle in ConfigMaps":             {interests{bundles: map[string]bool{"trust": true}}, ofConfigMap, nil},
		"a leaf of that name": {interests{
			bundles: map[string]bool{"trust": true}, bundleSecrets: map[string]bool{"trust": true}, leaves: map[planner.Ref]bool{{Namespace: "plant", Name: "trust"}: true},
		}, ofConfigMap, []planner.Mount{
			{Name: "trust", Kind: planner.MountEnv, OwnCA: planner.OwnCANamed}, {Name: "trust", Kind: planner.MountSubPath}, {Name: "trust", Kind: planner.MountVolume, OwnCA: planner.OwnCAVisible},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := runner{ref: planner.Ref{Namespace: "plant", Name: "broker"}, spec: decode[corev1.PodSpec](t, spec)}
			bundles, leaves := r.mounts(c.interesting)
			if !slices.Equal(bundles, c.bundles) || !slices.Equal(leaves, c.leaves) {
				t.Errorf("bundles %+v, leaves %+v\nwant %+v and %+v", bundles, leaves, c.bundles, c.leaves)
			}
		})
	}
}

// A workload that mounts nothing but a bundle's Secret is found in the cluster.
func TestVerifierWithASecret(t *testing.T) {
	verifier := pod(t, "verifier", "", "", nil)
	verifier.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "trust"}}
	got := observe(t, via(v1alpha1.ViaBundle, inSecrets), nil, namespace("a", "fleet"), verifier).Workloads
	if len(got) != 1 || len(got[0].Secrets) != 0 || !slices.Equal(got[0].Bundles, []planner.Mount{{Name: "trust", Kind: planner.MountVolume}}) {
		t.Errorf("workloads %+v", got)
	}
	if got := observe(t, desiredFleet(), nil, namespace("a", "fleet"), verifier).Workloads; len(got) != 0 {
		t.Errorf("without a Secret as target: %+v", got)
	}
}
