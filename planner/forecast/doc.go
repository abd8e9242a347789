// Package forecast says what becomes of a commit before it is merged: the planner itself,
// run forward over a simulated world until it rests, with every state on the way proved by
// X.509 verification.
package forecast
