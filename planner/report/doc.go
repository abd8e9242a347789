// Package report puts a forecast in front of those who read it: [Table] for a terminal,
// [Markdown] for a comment on a pull request, [JSON] for programs. All three are pure: equal
// forecasts give equal bytes.
//
// # What a reviewer reads
//
// Somebody who has never seen the tool has two minutes. So the verdict comes first, then what
// keeps one from merging and who would lose trust, then what happens, stage by stage, with
// who is touched and how to go back, and last what the plan was made from:
//
//	verdict, what to do about it, the proof, how far a revert leads back
//	what blocks the merge, who drops, what somebody must do   only where there is such
//	the stages: what is made, changed and removed, what is waited for, how to go back
//	trust before and after, by fingerprint
//	deletions, warnings, conflicts, drift                     only where there is such
//	the digests that it is stale by; the diffs, folded
//
// Objects are grouped by kind and counted; the first few are named ("and 212 more").
//
// # What comes from documents
//
// Names, subjects and messages may be anybody's: a CA may be called "<img onerror=…>", or
// hold backticks, pipes, line breaks, a mention or an escape sequence. Everything that comes
// from a forecast passes through escape.go on its way into a page, and no line of Markdown
// begins with it, so that it can neither be a heading nor a command to the forge.
//
// # Size
//
// A comment holds less than [Limit] bytes, whatever the forecast. A page is made of sections,
// and sections of items; what does not fit is cut by whole items and whole sections, the
// least important first, and a line says what was cut (page.go).
package report
