package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/forge"
	"github.com/reanchor/reanchor/planner/report"
)

// commentFlags are the flags of reanchor comment.
type commentFlags struct {
	provider string
	forge.Settings
	// noPlan is a folder for which no plan could be made.
	noPlan string
}

func newComment() *cobra.Command {
	var flags commentFlags
	command := &cobra.Command{
		Use:   "comment",
		Short: "Keep the comment with a plan up to date on a pull request",
		Long: `Keep the comment with a plan up to date on a pull request. Run it in a CI job of the
pull request:

  reanchor plan sites/plant -o markdown | reanchor comment

What stands on stdin begins with a line that is not seen and that names the domain's folder.
By it, and by its author, the comment of an earlier run is found and edited in place, so that
there is one for each domain. Where no plan could be made, --no-plan says so in that comment,
so that nobody takes an earlier plan for this one's.

The repository, the number and the API are those that the forge tells its jobs of. The token
comes from the environment alone: GITHUB_TOKEN, GITLAB_TOKEN or GITEA_TOKEN.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runComment(cmd.Context(), flags, os.Getenv, cmd.InOrStdin(), cmd.ErrOrStderr())
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&flags.noPlan, "no-plan", "", "folder of a domain, as seen from the root of the repository, for which no plan could be made; nothing is read from stdin")
	set.StringVar(&flags.provider, "provider", "", "forge: github, gitlab or gitea, which Forgejo is as well (default: the one whose job this is)")
	set.StringVar(&flags.API, "api-url", "", "URL of the forge's API (default: GITHUB_API_URL or CI_API_V4_URL)")
	set.StringVar(&flags.Repository, "repository", "", "repository, 'owner/name'; for GitLab the project's number or path (default: GITHUB_REPOSITORY or CI_MERGE_REQUEST_PROJECT_ID)")
	set.IntVar(&flags.Number, "number", 0, "number of the pull request (default: that of GITHUB_REF, or CI_MERGE_REQUEST_IID)")
	set.StringVar(&flags.Author, "author", "", "user whose comments are edited (default: whom the token belongs to)")
	return command
}

var errNoMarker = errors.New("what stands on stdin does not begin with the line that names a domain: pipe `reanchor plan -o markdown` into this")

// runComment reads a comment and has the forge keep it.
func runComment(ctx context.Context, flags commentFlags, getenv func(string) string, stdin io.Reader, stderr io.Writer) error {
	request, err := forge.FromEnvironment(flags.provider, getenv, flags.Settings)
	if err != nil {
		return err
	}
	text, err := commentText(flags.noPlan, stdin)
	if err != nil {
		return err
	}
	outcome, err := request.Upsert(ctx, report.MarkerOf(text), text)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "reanchor: %s: comment %s\n", request, outcome)
	return err
}

// commentText is what to say: what stands on stdin, or that there is no plan for a folder.
func commentText(noPlan string, stdin io.Reader) (string, error) {
	if noPlan != "" {
		return report.NoPlan(path.Clean(noPlan)), nil
	}
	body, err := io.ReadAll(io.LimitReader(stdin, report.Limit))
	if err != nil {
		return "", fmt.Errorf("read the comment: %w", err)
	}
	if len(body) == report.Limit {
		return "", fmt.Errorf("the comment is not shorter than %d bytes, as what `reanchor plan -o markdown` prints is: pipe that into this", report.Limit)
	}
	text := strings.ReplaceAll(string(body), "\r\n", "\n")
	if report.MarkerOf(text) == "" {
		return "", errNoMarker
	}
	return text, nil
}
