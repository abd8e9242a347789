package gitsource

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"
	"time"
)

// Writer commits device documents in groups: many callers put one file each, and everything
// that arrives while a push is under way goes into the next commit. It may be used by several
// goroutines; several Writers, of several programs, may write to one branch at once.
//
// It writes below devices/ and nowhere else. Each file is looked at again whenever somebody
// else was faster: see [Edit].
type Writer struct {
	options    WriterOptions
	message    *template.Template
	repository *Repository              // of the branch, or of the one that it is made from
	proposed   *proposed                // nil without a Base
	last       atomic.Pointer[Snapshot] // the newest that is known

	ended context.Context // by Close
	end   context.CancelFunc
	busy  sync.WaitGroup // the goroutine that commits, while there is something to commit

	mutex   sync.Mutex // guards what follows
	queue   []*waiting
	running bool
}

// WriterOptions are what a [Writer] needs to know besides the remote.
type WriterOptions struct {
	// Base is the branch that the remote's is made from, for registrations that are
	// proposed in a pull request: see [RegistrationBranch]. Empty: the remote's branch is
	// there, and each commit goes on top of it.
	Base string
	// Root is the folder of the repository in which devices/ lies; empty: the
	// repository's own.
	Root string
	// Author of the commits, and their Committer, if it is somebody else.
	Author, Committer Author
	// Message is the template of their messages (text/template), which gets a [Message];
	// empty: [DefaultMessage].
	Message string
	// Now tells the time that commits carry.
	Now func() time.Time
	// Jitter between attempts while others are faster; nil: random.
	Jitter Jitter
	// After says what the branch, or with a Base that, must go on from when this Writer has
	// read nothing of it yet, and what a person accepts in place of what is known: see
	// [Repository.PullAfter]. Of a branch that does not go on from what was read or pushed
	// last, nothing is read, and nothing is pushed to it: that is a [RewrittenError]. Unlike
	// there, what goes on from what is accepted is accepted too. Each acceptance counts once.
	// Nil: the branch is taken for what it is.
	After func() After
	// Queue is how many edits may wait; more are an [ErrQueueFull]. Default 4,096.
	Queue int
	// Batch is how many edits go into one commit at most. Default 4,096: all that may wait.
	Batch int
	// Timeout of one commit: all that it takes to have it accepted. Default one minute.
	Timeout time.Duration
}

func (o WriterOptions) orDefaults() WriterOptions {
	if o.Queue <= 0 {
		o.Queue = 4096
	}
	if o.Batch <= 0 {
		o.Batch = 4096
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	return o
}

// maxBatch is how many bytes of content go into one commit, unless a single file is larger.
const maxBatch = 16 << 20

// Landed is where an edit is.
type Landed struct {
	// Revision of the branch that holds it: "main@sha1:" and 40 hex digits.
	Revision string
	// Made says that it was committed for this call, or for another one that asked for the
	// same at the same time. Otherwise it had stood there before, and no commit was made.
	Made bool
}

// waiting is an edit whose caller waits.
type waiting struct {
	edit   Edit
	done   chan struct{} // closed when the rest is set
	landed Landed
	err    error
}

func (w *waiting) answer(landed Landed, err error) {
	if err != nil {
		err = fmt.Errorf("put %s: %w", w.edit.Path, err)
	}
	w.landed, w.err = landed, err
	close(w.done)
}

// OpenWriter opens a Writer to the remote's branch. The folder holds its copy, and is for this
// Writer alone, as for [Open]. It does not talk to the remote.
func OpenWriter(folder string, remote Remote, options WriterOptions) (*Writer, error) {
	message, err := options.check()
	if err != nil {
		return nil, fmt.Errorf("open a writer: %w", err)
	}
	own := remote
	if options.Base != "" {
		own.Branch = options.Base
	}
	repository, err := Open(folder, own)
	if err != nil {
		return nil, err
	}
	if options.Jitter != nil {
		repository.jitter = options.Jitter
	}
	if options.After != nil {
		repository.lineage = &lineage{after: options.After}
	}
	w := &Writer{options: options.orDefaults(), message: message, repository: repository}
	if options.Base != "" {
		if w.proposed, err = newProposed(repository, remote, path.Join(options.Root, "devices")); err != nil {
			return nil, fmt.Errorf("open a writer: %w", err)
		}
	}
	w.ended, w.end = context.WithCancel(context.Background())
	if repository.isAccepted() {
		w.last.Store(repository.last)
	}
	return w, nil
}

// check refuses options with which no commit could be made.
func (o WriterOptions) check() (*template.Template, error) {
	if o.Now == nil {
		return nil, invalid("there is no time for it: give Now")
	}
	if err := o.Author.check("author"); err != nil {
		return nil, err
	}
	if o.Committer != (Author{}) {
		if err := o.Committer.check("committer"); err != nil {
			return nil, err
		}
	}
	if o.Root != "" {
		if err := checkPath(o.Root); err != nil {
			return nil, err
		}
	}
	return parseMessage(o.Message)
}

// Close ends what is under way, lets everybody who waits know, and lets go of the connections.
// A commit that was sent may land all the same, and its callers hear that.
func (w *Writer) Close() {
	w.mutex.Lock() // nobody begins to commit from here on
	w.end()
	w.mutex.Unlock()
	w.busy.Wait()
	w.repository.Close()
	if w.proposed != nil {
		w.proposed.transport.close()
	}
}

// Put writes a file, and returns once the commit that holds it is pushed and accepted by the
// remote. If the file stands there with this very content, no commit is made.
//
// If something else stands there than what the edit was decided on, that is an
// [EditConflictError]. If ctx ends before the edit is taken up, it is not written; if it ends
// afterwards, that is an [ErrOutcomeUnknown], and the same Put finds out.
func (w *Writer) Put(ctx context.Context, edit Edit) (Landed, error) {
	if err := w.checkEdit(edit); err != nil {
		return Landed{}, fmt.Errorf("put: %w", err)
	}
	one := &waiting{edit: edit, done: make(chan struct{})}
	if err := w.enqueue(ctx, one); err != nil {
		return Landed{}, fmt.Errorf("put %s: %w", edit.Path, err)
	}
	select {
	case <-one.done:
		return one.landed, one.err
	case <-ctx.Done():
		return w.abandon(one, stopped(ctx.Err()))
	}
}

// abandon takes an edit out of the queue. Of one that is under way nobody knows.
func (w *Writer) abandon(one *waiting, why error) (Landed, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if i := slices.Index(w.queue, one); i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
		return Landed{}, fmt.Errorf("put %s: it was not written: %w", one.edit.Path, why)
	}
	select {
	case <-one.done:
		return one.landed, one.err
	default:
		return Landed{}, fmt.Errorf("put %s: %w", one.edit.Path, &doubt{why})
	}
}

// checkEdit refuses what this Writer does not write.
func (w *Writer) checkEdit(edit Edit) error {
	if err := checkPath(edit.Path); err != nil {
		return err
	}
	folder := path.Join(w.options.Root, "devices") + "/"
	below, inside := strings.CutPrefix(edit.Path, folder)
	if !inside || !strings.Contains(below, "/") || path.Ext(edit.Path) != ".yaml" {
		return invalid("%q is no device document: write it to %s<group>/<shard>/<name>.yaml", shortened(edit.Path), folder)
	}
	if edit.Was != "" && !isHash(edit.Was) {
		return invalid("%q is no blob: give what Get says, or nothing if the file is not there", shortened(edit.Was))
	}
	if limit := w.repository.remote.Limits.File; int64(len(edit.Content)) > limit {
		return fmt.Errorf("%s: %w", edit.Path, tooLarge(int64(len(edit.Content)), limit))
	}
	return nil
}

func isHash(text string) bool { return len(text) == 40 && blobHash(text).String() == text }

// enqueue lets an edit wait for the next commit, and sees that there is one.
func (w *Writer) enqueue(ctx context.Context, one *waiting) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	switch {
	case ctx.Err() != nil:
		return stopped(ctx.Err())
	case w.ended.Err() != nil:
		return fmt.Errorf("the writer is closed: %w: open another", w.ended.Err())
	case len(w.queue) >= w.options.Queue:
		return &failure{kind: ErrQueueFull, detail: fmt.Sprintf("%d edits wait", len(w.queue)), hint: "try again later"}
	}
	w.queue = append(w.queue, one)
	if !w.running {
		w.running = true
		w.busy.Go(w.drain)
	}
	return nil
}

// drain commits until nobody waits.
func (w *Writer) drain() {
	for w.isWaitedFor() {
		w.land(w.take, nil)
	}
}

// isWaitedFor reports whether there is anything to commit. If not, nobody drains any more.
func (w *Writer) isWaitedFor() bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.running = len(w.queue) > 0
	return w.running
}

// take takes the edits of the next commit off the queue.
func (w *Writer) take() []*waiting {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	count, size := 0, 0
	for count < min(len(w.queue), w.options.Batch) {
		if size += len(w.queue[count].edit.Content); size > maxBatch && count > 0 {
			break
		}
		count++
	}
	batch := slices.Clone(w.queue[:count])
	w.queue = slices.Delete(w.queue, 0, count)
	return batch
}

// land commits a batch and answers its callers. If the remote rejects it, one half of it is
// tried after the other, so that one document that a hook does not like keeps out no other;
// how many further pushes that may take, is given for the halves.
func (w *Writer) land(take func() []*waiting, further *int) {
	batch, decided, landed, err := w.commit(take)
	if further == nil {
		most := 2 * bits.Len(uint(len(batch)))
		further = &most
	}
	if len(batch) > 1 && *further >= 2 && errors.Is(err, ErrRejected) && !errors.Is(err, ErrBusy) {
		*further -= 2
		for _, half := range [][]*waiting{batch[:len(batch)/2], batch[len(batch)/2:]} {
			w.land(func() []*waiting { return half }, further)
		}
		return
	}
	w.tell(batch, decided, landed, err)
}

// decided is what the newest tree made of a batch.
type decided struct {
	on *Snapshot
	merged
}

// commit pushes a batch as one commit, decided anew on whatever the branch stands at. The batch
// is taken as late as can be, when the remote has told where the branch stands: all that comes
// until then is in it.
func (w *Writer) commit(take func() []*waiting) (batch []*waiting, last decided, landed *Snapshot, err error) {
	ctx, cancel := context.WithTimeout(w.ended, w.options.Timeout)
	defer cancel()
	taken := sync.OnceValue(take)
	landed, err = w.inTurn(ctx, func() (*Snapshot, error) {
		return w.push(ctx, func(now *Snapshot) (Commit, error) {
			edits := editsOf(taken())
			m, err := merge(now, edits)
			if err != nil {
				return Commit{}, err
			}
			last = decided{on: now, merged: m}
			return w.commitOf(edits, m)
		})
	})
	return taken(), last, landed, err
}

func editsOf(batch []*waiting) []Edit {
	edits := make([]Edit, len(batch))
	for i, one := range batch {
		edits[i] = one.edit
	}
	return edits
}

// inTurn acts on the repository while nobody else does, and remembers where it stands then.
func (w *Writer) inTurn(ctx context.Context, act func() (*Snapshot, error)) (*Snapshot, error) {
	if err := w.repository.enter(ctx); err != nil {
		return nil, err
	}
	defer w.repository.leave()
	snapshot, err := act()
	switch {
	case snapshot != nil:
		w.last.Store(snapshot)
	case w.proposed == nil && w.repository.isAccepted():
		w.last.Store(w.repository.last)
	}
	return snapshot, err
}

// push puts what is decided on the branch.
func (w *Writer) push(ctx context.Context, decide decision) (*Snapshot, error) {
	if w.proposed == nil {
		return w.repository.pushInTurn(ctx, decide)
	}
	return w.proposed.pushInTurn(ctx, decide)
}

// commitOf is the commit that holds the edits that are to be written.
func (w *Writer) commitOf(edits []Edit, m merged) (Commit, error) {
	commit := Commit{Author: w.options.Author, Committer: w.options.Committer, When: w.options.Now(), Files: m.files}
	var told []Edit
	for i, edit := range edits {
		if m.outcomes[i] == written {
			told = append(told, edit)
		}
	}
	if len(told) == 0 {
		return commit, nil
	}
	var err error
	commit.Message, err = newMessage(w.branch(), told).render(w.message)
	return commit, err
}

// branch that is written to.
func (w *Writer) branch() string {
	if w.proposed != nil {
		return w.proposed.branch
	}
	return w.repository.remote.Branch
}

// tell answers the callers of a batch, of which a commit landed or could not. What was decided
// without a commit holds either way, and what was deferred waits for the next one.
func (w *Writer) tell(batch []*waiting, decided decided, landed *Snapshot, err error) {
	var again []*waiting
	for i, one := range batch {
		switch {
		case decided.on == nil:
			one.answer(Landed{}, err)
		case decided.outcomes[i] == deferred:
			again = append(again, one)
		case decided.outcomes[i] == written && err != nil:
			one.answer(Landed{}, err)
		case decided.outcomes[i] == written:
			one.answer(Landed{Revision: landed.Revision(), Made: true}, nil)
		case decided.outcomes[i] == present:
			one.answer(Landed{Revision: decided.on.Revision()}, nil)
		case decided.outcomes[i] == vetoed:
			one.answer(Landed{}, decided.vetoes[i])
		case decided.outcomes[i] == conflicting:
			one.answer(Landed{}, decided.on.conflict(one.edit.Path))
		default:
			one.answer(Landed{}, invalid("%s is no plain file, or lies below one: look at what stands there in %s", one.edit.Path, decided.on.Revision()))
		}
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.queue = slices.Concat(again, w.queue)
}

// Get reads a file as it stands on the newest tree of the branch that this Writer knows: that
// of its last commit, or of the last Refresh. Only if it knows none yet, the remote is asked. A
// file that is not there is an [fs.ErrNotExist].
func (w *Writer) Get(ctx context.Context, path string) (Document, error) {
	newest := w.last.Load()
	if newest == nil {
		var err error
		if newest, err = w.Refresh(ctx); err != nil {
			return Document{}, fmt.Errorf("get %s: %w", shortened(path), err)
		}
	}
	document, err := newest.Document(path)
	if err != nil {
		return Document{}, fmt.Errorf("get %s: %w", shortened(path), err)
	}
	return document, nil
}

// Newest is the newest tree of the branch that this Writer knows, as for Get; nil if it knows
// none yet. Once Put has returned, what it wrote is in it.
func (w *Writer) Newest() *Snapshot { return w.last.Load() }

// Refresh asks the remote where the branch stands, and returns that; with a Base, what it
// would be on the newest base. It waits for a push that is under way.
func (w *Writer) Refresh(ctx context.Context) (*Snapshot, error) {
	snapshot, err := w.inTurn(ctx, func() (*Snapshot, error) {
		if w.proposed != nil {
			return w.proposed.pull(ctx)
		}
		return w.repository.pullNext(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", w.repository.remote, err)
	}
	return snapshot, nil
}
