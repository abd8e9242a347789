package enrolment_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/reanchor/reanchor/enrolment"
	"github.com/reanchor/reanchor/pki"
)

// A device with its own program: it runs until it is told to end.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	text, err := os.ReadFile("/etc/factory/anchors.pem")
	if err != nil {
		log.Fatal(err)
	}
	anchors, err := pki.ParsePEM(text)
	if err != nil {
		log.Fatal(err)
	}
	factory, err := enrolment.LoadBootstrap("/etc/factory/cert.pem", "/etc/factory/key.pem")
	if err != nil {
		log.Fatal(err)
	}
	device, err := enrolment.Open(enrolment.Options{
		Server: "https://register.example.com:8443", Group: "sensors", Folder: "/var/lib/sensor",
		Anchors: pki.NewAnchors(anchors...), Bootstrap: factory, DNSNames: []string{"{{ .ID }}.sensors.example"},
		Load:   func(context.Context) error { return nil }, // reconnect with device.Credential() and device.Anchors()
		Report: func(event enrolment.Event) { fmt.Println(event) },
		Clock:  time.Now,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := device.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
