//go:build e2e

package registrar_test

import "testing"

// 5,000 connections that send nothing take some ten seconds to open.
func TestFiveThousandIdleConnectionsLeaveRoom(t *testing.T) { servedBeside(t, 5000) }
