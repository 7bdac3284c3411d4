package command

import (
	"testing"
	"time"

	"nsinspect/inspect"
)

func TestMade(t *testing.T) {
	at := time.Date(2026, 11, 26, 2, 7, 12, 0, time.FixedZone("CET", 3600))
	for _, c := range []struct {
		from inspect.Origin
		want string
	}{
		{inspect.Origin{Made: at, Kernel: "6.18.0"}, "made 2026-11-26 01:07:12 UTC on Linux 6.18.0"},
		{inspect.Origin{Made: at}, "made 2026-11-26 01:07:12 UTC"},
		{inspect.Origin{Made: time.Unix(0, 0), Kernel: "4.15.0"}, "of a time that it does not tell on Linux 4.15.0"},
		{inspect.Origin{}, "of a time that it does not tell"},
	} {
		if got := made(c.from); got != c.want {
			t.Errorf("%+v: %q, want %q", c.from, got, c.want)
		}
	}
}
