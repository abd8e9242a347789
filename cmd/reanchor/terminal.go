package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// palette paints words. Its zero value leaves them as they are.
type palette struct{ colours bool }

// paletteFor what is written to: colours on a terminal that has them, unless NO_COLOR is
// set (https://no-color.org).
func paletteFor(out io.Writer) palette {
	file, is := out.(*os.File)
	return palette{is && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// The colours of ECMA-48 that are used.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	bold   = "1"
)

func (p palette) paint(colour, text string) string {
	if !p.colours || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// usualWidth is how many characters a line has where that cannot be told.
const usualWidth = 100

// widthOf what is written to, in characters.
func widthOf(out io.Writer) int {
	file, is := out.(*os.File)
	if !is {
		return usualWidth
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		return usualWidth
	}
	return width
}
