package gitsource

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// object is a new Git object.
type object struct {
	kind plumbing.ObjectType
	hash plumbing.Hash
	data []byte
}

func newObject(kind plumbing.ObjectType, data []byte) object {
	return object{kind: kind, hash: plumbing.ComputeHash(kind, data), data: data}
}

// newFolder is the object of a folder. Other than a file's content, nobody can choose the hashes
// that it consists of, and so make two that collide: it is hashed without looking for the signs
// of that, at a seventh of the cost. For what collides with nothing, both say the same.
func newFolder(data []byte) object {
	sum := sha1.New()
	_, _ = fmt.Fprintf(sum, "tree %d\x00", len(data))
	_, _ = sum.Write(data)
	return object{kind: plumbing.TreeObject, hash: plumbing.Hash(sum.Sum(nil)), data: data}
}

// pack is one that was made here, with its index: nothing of it needs to be read to be kept.
type pack struct {
	data  []byte
	index *idxfile.MemoryIndex
}

// packOf is the pack (gitformat-pack, version 2) that holds these objects.
func packOf(objects []object) (*pack, error) {
	var data bytes.Buffer
	data.Grow(packedSize(objects))
	packer, err := newPacker(&data, len(objects))
	if err != nil {
		return nil, err
	}
	index := new(idxfile.Writer)
	if err := index.OnHeader(uint32(len(objects))); err != nil {
		return nil, err
	}
	for _, o := range objects {
		from := data.Len()
		if err := packer.add(o.kind, int64(len(o.data)), bytes.NewReader(o.data)); err != nil {
			return nil, err
		}
		index.Add(o.hash, uint64(from), crc32.ChecksumIEEE(data.Bytes()[from:]))
	}
	if err := packer.close(); err != nil {
		return nil, err
	}
	checksum := data.Bytes()[data.Len()-sha1.Size:]
	if err := index.OnFooter(plumbing.Hash(checksum)); err != nil {
		return nil, err
	}
	found, err := index.Index()
	return &pack{data: data.Bytes(), index: found}, err
}

// packedSize is about how large a pack of these objects is at most.
func packedSize(objects []object) int {
	const framing = 32 // of an object, and of the pack
	size := framing
	for _, o := range objects {
		size += framing + len(o.data)
	}
	return size
}

// keep stores the pack in a repository's folder of objects, as [storePack] does.
func (p *pack) keep(objects string) (string, error) {
	file, err := os.CreateTemp(objects, "tmp_pack_*")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := file.Write(p.data); err != nil {
		return "", err
	}
	path := packPath(objects, p.index)
	return path, installPack(path, file, p.index)
}

// packPath is where the pack of an index belongs, without an extension.
func packPath(objects string, index *idxfile.MemoryIndex) string {
	return filepath.Join(objects, "pack", "pack-"+plumbing.Hash(index.PackfileChecksum).String())
}

// packer writes a pack, one whole object after the other: it keeps none of them
// and compares none with another.
//
// Folders are hashes mostly, which do not get smaller, and names. They are stored as they are:
// twice as large as they could be, and many times as fast to write and to read.
type packer struct {
	out        io.Writer
	sum        hash.Hash
	zip, plain *zlib.Writer
}

func newPacker(w io.Writer, count int) (*packer, error) {
	sum := sha1.New()
	out := io.MultiWriter(w, sum)
	header := append([]byte("PACK"), binary.BigEndian.AppendUint64(nil, 2<<32|uint64(count))...)
	if _, err := out.Write(header); err != nil {
		return nil, err
	}
	p := &packer{out: out, sum: sum}
	var errs [2]error
	p.zip, errs[0] = zlib.NewWriterLevel(out, zlib.BestSpeed)
	p.plain, errs[1] = zlib.NewWriterLevel(out, zlib.NoCompression)
	return p, errors.Join(errs[:]...)
}

func (p *packer) add(kind plumbing.ObjectType, size int64, content io.Reader) error {
	if _, err := p.out.Write(packedHeader(kind, size)); err != nil {
		return err
	}
	zip := p.zip
	if kind == plumbing.TreeObject {
		zip = p.plain
	}
	zip.Reset(p.out)
	written, err := io.Copy(zip, content)
	if err == nil && written != size {
		err = fmt.Errorf("an object of %d bytes gave %d: %w", size, written, io.ErrUnexpectedEOF)
	}
	return errors.Join(err, zip.Close())
}

func (p *packer) close() error {
	_, err := p.out.Write(p.sum.Sum(nil))
	return err
}

// packedHeader is an object's type and size as a pack states them: four bits of
// the size beside the type, then seven to a byte, the lowest first.
func packedHeader(kind plumbing.ObjectType, size int64) []byte {
	current := byte(kind)<<4 | byte(size&0x0f)
	var header []byte
	for size >>= 4; size > 0; size >>= 7 {
		header = append(header, current|0x80)
		current = byte(size & 0x7f)
	}
	return append(header, current)
}

// storePack keeps the pack that fill writes, and its index, in a repository's folder
// of objects, and returns their path, to which ".pack" and ".idx" are to be added.
// They appear whole or not at all.
//
// Until then they lie outside of the folder of packs: who lists that folder, as
// go-git does, may stumble over a file that goes away.
func storePack(objects string, limits Limits, fill func(io.Writer) error) (string, error) {
	file, err := os.CreateTemp(objects, "tmp_pack_*")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := fill(&limitedWriter{to: file, left: limits.Fetch, limit: limits.Fetch}); err != nil {
		return "", err
	}
	if err := checkPack(file, limits); err != nil {
		return "", err
	}
	index, err := indexPack(file)
	if err != nil {
		return "", err
	}
	path := packPath(objects, index)
	return path, installPack(path, file, index)
}

// limitedWriter fails once more than the limit was written.
type limitedWriter struct {
	to          io.Writer
	left, limit int64
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.left -= int64(len(p)); w.left < 0 {
		return 0, &failure{
			kind:   ErrTooLarge,
			detail: "a fetch brings more than " + size(w.limit),
			hint:   "use a smaller repository, or raise the limit of a fetch",
		}
	}
	return w.to.Write(p)
}

// checkPack reads through a pack without keeping anything, and refuses what would
// take too much memory to index: it is easy to pack a very large file small.
func checkPack(file io.ReadSeeker, limits Limits) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	scanner := packfile.NewScanner(file)
	_, count, err := scanner.Header()
	if err != nil {
		return err
	}
	if int64(count) > int64(limits.Objects) {
		return &failure{
			kind:   ErrTooLarge,
			detail: fmt.Sprintf("a fetch brings %d objects, more than %d", count, limits.Objects),
			hint:   "use a smaller repository, or raise the limit of objects",
		}
	}
	for range count {
		if err := checkObject(scanner, limits); err != nil {
			return err
		}
	}
	return nil
}

// checkObject moves to the next object and refuses one that is too large, by its name
// if the pack holds it whole.
func checkObject(scanner *packfile.Scanner, limits Limits) error {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	if header.Type.IsDelta() {
		var head prefix
		_, _, err = scanner.NextObject(&head)
		if length := max(header.Length, resultSize(head)); err == nil && length > limits.Object {
			err = tooLargeObject("the repository holds an object of "+size(length), limits)
		}
		return err
	}
	if header.Length <= limits.Object {
		return nil
	}
	name := "an object"
	if header.Length <= maxNamed {
		hasher := plumbing.NewHasher(header.Type, header.Length)
		if _, _, err := scanner.NextObject(hasher); err != nil {
			return err
		}
		name = header.Type.String() + " " + hasher.Sum().String()
	}
	return tooLargeObject("the repository holds "+name+" of "+size(header.Length), limits)
}

// maxNamed is up to which size, in bytes, an object that is too large is read in
// order to tell its name.
const maxNamed = 1 << 30

func tooLargeObject(what string, limits Limits) error {
	return &failure{
		kind:   ErrTooLarge,
		detail: what + ", more than " + size(limits.Object),
		hint:   "git ls-tree -r -l shows which file it is: take it out of the branch, or raise the limit of an object",
	}
}

// prefix keeps the beginning of what is written to it: as much as the two sizes
// that a delta starts with can take.
type prefix []byte

func (p *prefix) Write(b []byte) (int, error) {
	room := 2*binary.MaxVarintLen64 - len(*p)
	*p = append(*p, b[:min(len(b), room)]...)
	return len(b), nil
}

// resultSize is the size of what a delta makes, as its beginning states it.
func resultSize(head []byte) int64 {
	_, n := binary.Uvarint(head)
	if n <= 0 {
		return 0
	}
	result, _ := binary.Uvarint(head[n:])
	return int64(min(result, 1<<62))
}

func indexPack(file io.ReadSeeker) (*idxfile.MemoryIndex, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	index := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(file), index)
	if err != nil {
		return nil, err
	}
	checksum, err := parser.Parse()
	if err != nil {
		return nil, err
	}
	if checksum.IsZero() {
		return nil, fmt.Errorf("the pack ends before its checksum: %w", io.ErrUnexpectedEOF)
	}
	return index.Index()
}

// installPack puts a pack and its index where they belong. The index comes first:
// go-git looks for packs and wants an index, git looks for indexes and does not mind
// a missing pack.
func installPack(path string, pack *os.File, index *idxfile.MemoryIndex) error {
	file, err := os.CreateTemp(filepath.Dir(pack.Name()), "tmp_idx_*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := idxfile.NewEncoder(file).Encode(index); err != nil {
		return err
	}
	if err := settle(file, path+".idx"); err != nil {
		return err
	}
	return settle(pack, path+".pack")
}

// settle makes a finished temporary file durable and gives it its name.
func settle(file *os.File, path string) error {
	if err := errors.Join(file.Chmod(0o444), file.Sync()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const units = "KMGT"
	if bytes < 1024 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	value, unit := float64(bytes)/1024, 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
