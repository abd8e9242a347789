package gitsource

import "crypto/sha256"

func shardOf(name string) byte { return sha256.Sum256([]byte(name))[0] }
