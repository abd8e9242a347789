// Package forge keeps one comment up to date on a pull request of GitHub, GitLab or Gitea
// (and Forgejo, which speaks as Gitea does), from within a job of the forge's own CI.
//
//	forge, err := forge.FromEnvironment("", os.Getenv, forge.Settings{})
//	outcome, err := forge.Upsert(ctx, marker, body)
//
// A comment is found by its first line, a marker that is not seen, and by its author: who may
// comment may write a marker too, and what somebody else wrote is never edited, nor left to
// pass for the program's own. It is edited in place if it says something else; made if there
// is none; and where two jobs made one each, the later one goes.
//
// # The three APIs
//
//	         list, page by page                             edit
//	GitHub   GET repos/R/issues/N/comments                  PATCH repos/R/issues/comments/ID
//	GitLab   GET projects/R/merge_requests/N/notes          PUT   projects/R/merge_requests/N/notes/ID
//	Gitea    GET repos/R/issues/N/comments                  PATCH repos/R/issues/comments/ID
//
// All three name the next page in the header Link, where there is one (RFC 8288). Only its
// query is taken: a token goes to the one host that it is for, and redirects are not
// followed. Sources:
//
//   - https://docs.github.com/en/rest/issues/comments
//   - https://docs.gitlab.com/api/notes/
//   - https://docs.gitea.com/api (issue)
//
// # Pull requests
//
// Beside that it sees that one pull request is open from a branch into another of the same
// repository, and that its title and description say what is wanted:
//
//	forge, err := forge.ForRepository(forge.GitHub, os.Getenv, forge.Settings{Repository: "example/pki"})
//	outcome, err := forge.Propose(ctx, forge.Proposal{From: "reanchor/registrations/sensors", Into: "main", …})
//
// It lists those that are open, opens one if there is none, and edits the one that says
// something else. One that a person has closed is not found, so that another is opened.
//
//	         list, and open by POST                         edit
//	GitHub   repos/R/pulls                                  PATCH repos/R/pulls/N
//	GitLab   projects/R/merge_requests                      PUT   projects/R/merge_requests/N
//	Gitea    repos/R/pulls                                  PATCH repos/R/pulls/N
//
// Sources: https://docs.github.com/en/rest/pulls/pulls and
// https://docs.gitlab.com/api/merge_requests/
//
// # Trouble
//
// A request has half a minute. Where a forge asks for patience (429, or 403 with Retry-After
// or with an exhausted rate limit) or has trouble of its own (5xx), all is done once more
// from the list on, so that nothing is made twice; four times in all. Every other refusal
// ends in an [Error] that says what to do. No error holds the token.
package forge
