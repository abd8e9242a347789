// Package inventory is the device lane: the devices that Git lists, the certificate that
// each shall have, and the ledger of how far a fleet has come.
//
// # Reading
//
// Devices are not composed: each lies in a file of its own, which no kustomization lists,
// so that a registration touches no shared file.
//
//	devices/sensors/3f/sensor-0042.yaml                              group / shard / id
//	devices/sensors/a1/sn-4711.9f86d081884c7d659a2feaa0c55ad015.yaml an id that is no safe name
//	devices/README.md, .gitkeep                                      passed over
//
// [Read] decodes and checks each file by itself. What is wrong with one is a problem of that
// one, with file, line and field: the others are read. Whoever stands in such a file is
// neither new nor gone, he is left as he is.
//
// A folder or a file that Git names by the same hash as when it was read before is not read
// again. Without such hashes, on a disk, everything is read each time.
package inventory
